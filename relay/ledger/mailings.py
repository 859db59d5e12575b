"""Mailings: account, sending domain, campaign and template under one number.

Cubes and delivery rows hold the number. A mailing also remembers how tokens name its sending domain
and campaign (id and 64-bit hash), so that a hit that outlived its delivery's row still counts where
it belongs. The cache is bounded and holds committed mailings only.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, func, select

from metrics.events import Event
from relay.ledger.statements import prepared, select_in
from relay.ledger.tables import mailings
from tracking.tokens import campaign_hash

Key = tuple[int, str, str, str]

OTHER_DOMAINS = "other"
_CACHED = 200_000
_SELECT = (
    "SELECT id, account, sending_domain, campaign, template, sending_domain_id, campaign_hash "
    "FROM mailings WHERE "
)
_BY_ID = _SELECT + "id IN"
_UNNAMED = _SELECT + "account = ? AND campaign = ?"
_BY_KEY = _SELECT + "account = ? AND sending_domain = ? AND campaign = ? AND template = ?"


class Mailing(NamedTuple):
    """One row of `mailings`."""

    id: int
    account: int
    sending_domain: str
    campaign: str
    template: str
    sending_domain_id: int
    campaign_hash: int

    @property
    def key(self) -> Key:
        """Give what makes it unique."""
        return self[1:5]

    @property
    def label(self) -> str:
        """Give the sending domain as a Prometheus label: registered ones by name, else "other"."""
        return self.sending_domain if self.sending_domain_id else OTHER_DOMAINS


def signed(hash_: int) -> int:
    """Give a 64-bit number as both databases keep it: signed."""
    return hash_ - (1 << 64) if hash_ >= 1 << 63 else hash_


def _unnamed(hash_: int) -> str:
    """Give the name of a campaign of which only the hash is known."""
    return f"#{hash_:016x}"


class Mailings:
    """Finds and makes mailings; one object per writing process."""

    def __init__(self) -> None:
        """Start with an empty cache."""
        self._by_key: dict[Key, Mailing] = {}
        self._by_id: dict[int, Mailing] = {}
        self._uncommitted: list[Mailing] = []

    def begin(self) -> None:
        """Forget what the last transaction made if it was not committed; bound the cache."""
        for mailing in self._uncommitted:
            self._by_key.pop(mailing.key, None)
            self._by_id.pop(mailing.id, None)
        self._uncommitted.clear()
        if len(self._by_key) > _CACHED:
            self._by_key.clear()
            self._by_id.clear()

    def committed(self) -> None:
        """Keep what the transaction made."""
        self._uncommitted.clear()

    def of(self, connection: Connection, event: Event) -> Mailing:
        """Give the mailing an event with all its dimensions belongs to; made if it is new."""
        key = (event.account, event.sending_domain, event.campaign, event.template)
        hash_ = signed(event.campaign_hash)
        known = self._by_key.get(key) or self._load_key(connection, key)
        if known is None:
            self._name_campaign(connection, event.account, event.campaign)
            known = self._load_key(connection, key)
        if known is None:
            return self._make(connection, key, event.sending_domain_id, hash_)
        domain_id = event.sending_domain_id or known.sending_domain_id
        hash_ = hash_ or known.campaign_hash
        if domain_id == known.sending_domain_id and hash_ == known.campaign_hash:
            return known
        learned = known._replace(sending_domain_id=domain_id, campaign_hash=hash_)
        self._update(connection, learned)
        return learned

    def learn_hash(self, connection: Connection, known: Mailing, event: Event) -> None:
        """Remember how tokens name a mailing's campaign, from any event that carries it."""
        hash_ = signed(event.campaign_hash)
        if hash_ and hash_ != known.campaign_hash:
            self._update(connection, known._replace(campaign_hash=hash_))

    def by_ids(self, connection: Connection, wanted: set[int]) -> dict[int, Mailing]:
        """Give mailings by number."""
        missing = wanted - self._by_id.keys()
        for row in select_in(connection, _BY_ID, missing):
            self._remember(Mailing(*row))
        return {number: self._by_id[number] for number in wanted}

    def of_token(self, connection: Connection, event: Event) -> Mailing:
        """Give the mailing a token's ids name: without template.

        A campaign of which nothing else was heard yet is "#" and its hash until it is; a sending
        domain that neither the event nor another mailing names stays "".
        """
        hash_ = signed(event.campaign_hash)
        domain = event.sending_domain or connection.scalar(
            select(func.min(mailings.c.sending_domain)).where(
                mailings.c.account == event.account,
                mailings.c.sending_domain_id == event.sending_domain_id,
            )
        )
        campaign = connection.scalar(
            select(func.min(mailings.c.campaign)).where(
                mailings.c.account == event.account, mailings.c.campaign_hash == hash_
            )
        )
        if campaign is None:
            campaign = _unnamed(event.campaign_hash) if hash_ else ""
        key = (event.account, str(domain or ""), str(campaign), "")
        known = self._by_key.get(key) or self._load_key(connection, key)
        return known or self._make(connection, key, event.sending_domain_id, hash_)

    def _name_campaign(self, connection: Connection, account: int, campaign: str) -> None:
        """Name what hits that came before the first event of a campaign were counted under.

        Where the named mailing exists beside it (made before mailings knew their hash), both stay:
        what was counted is not moved, and from now on the hash leads to the named one.
        """
        if not campaign:
            return
        hash_ = campaign_hash(account, campaign)
        key = (account, _unnamed(hash_))
        for row in connection.exec_driver_sql(prepared(connection, _UNNAMED), key).fetchall():
            found = Mailing(*row)
            renamed = found._replace(campaign=campaign)
            named = self._load_key(connection, renamed.key)
            if named is None:
                self._by_key.pop(found.key, None)
                self._update(connection, renamed)
            elif found.campaign_hash:
                self._update(connection, found._replace(campaign_hash=0))
                self._update(connection, named._replace(campaign_hash=signed(hash_)))

    def _load_key(self, connection: Connection, key: Key) -> Mailing | None:
        row = connection.exec_driver_sql(prepared(connection, _BY_KEY), key).fetchone()
        if row is None:
            return None
        return self._remember(Mailing(*row))

    def _make(self, connection: Connection, key: Key, domain_id: int, hash_: int) -> Mailing:
        account, sending_domain, campaign, template = key
        # Tokens name a campaign by its hash, also where no event tells the hash (sums only).
        hash_ = hash_ or signed(campaign_hash(account, campaign))
        made = connection.execute(
            mailings.insert()
            .values(
                account=account,
                sending_domain=sending_domain,
                campaign=campaign,
                template=template,
                sending_domain_id=domain_id,
                campaign_hash=hash_,
            )
            .returning(mailings.c.id)
        ).scalar_one()
        mailing = self._remember(Mailing(made, *key, domain_id, hash_))
        self._uncommitted.append(mailing)
        return mailing

    def _update(self, connection: Connection, learned: Mailing) -> None:
        connection.execute(
            mailings.update()
            .where(mailings.c.id == learned.id)
            .values(
                campaign=learned.campaign,
                sending_domain_id=learned.sending_domain_id,
                campaign_hash=learned.campaign_hash,
            )
        )
        self._remember(learned)
        self._uncommitted.append(learned)

    def _remember(self, mailing: Mailing) -> Mailing:
        self._by_key[mailing.key] = mailing
        self._by_id[mailing.id] = mailing
        return mailing
