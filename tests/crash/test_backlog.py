"""P21: nine in ten of what waits are for a destination that says nothing; the others do not notice,
and what waited goes once it talks again.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.mx_world import mx_world, sender_in
from tests.harness.scripted_mx import Act

pytestmark = [pytest.mark.timeout(240), pytest.mark.long]
BACKLOG, TOGETHER, OTHERS = 900, 50, 100


async def test_a_mute_destination_with_most_of_the_backlog_delays_no_other(tmp_path: Path) -> None:
    async with mx_world() as world:
        mute, good = await world.server("mute.test"), world.servers["good.test"]
        mute.answer(banner=[Act.STALL] * 10_000)
        async with sender_in(world, tmp_path / "run", timeout_scale=0.02) as sender:
            for first in range(0, BACKLOG, TOGETHER):
                waiting = [f"r{first + n}@mute.test" for n in range(TOGETHER)]
                await sender.submit(*waiting, together=True)
            await sender.submit(*(f"r{n}@good.test" for n in range(OTHERS)))

            async def others_arrived() -> bool:
                return len(good.messages) == OTHERS

            await sender.relay.until(others_arrived, "what has nothing to do with it", 60)
            assert mute.messages == []
            assert mute.most < BACKLOG / 10
            mute.heal()

            async def all_arrived() -> bool:
                return len({one.recipients for one in mute.messages}) == BACKLOG

            await sender.relay.until(all_arrived, "what waited to go", 120)
