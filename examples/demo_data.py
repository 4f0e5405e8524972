"""Generate records of personal and non-personal fields: the data of `demo.py`.

    python examples/demo_data.py        # prints a few records of each split

A record has fields of a name, or None, a value and one to three labels: the kind of data, then two
attributes in the spirit of the GDPR, which depend on whose value it is and on the rest of the
record.

| kind                           | direct_identifier         | sensitive                  |
|--------------------------------|---------------------------|----------------------------|
| person_name, username          | always                    | (h)                        |
| email, phone                   | a person's, no shared one | (h)                        |
| ip_address                     | a visitor's, no server's  | (h)                        |
| reference_number               | a person's, no order's    | (h)                        |
| national_id, credit_card       | always                    | always (Art. 87, money)    |
| bank_account                   | a person's, no firm's     | a person's (money)         |
| amount                         | never                     | a salary, a patient's bill |
| health_condition               | never                     | always (Art. 9)            |
| date_of_birth, street_address, | never: shared by many     | (h)                        |
| city, event_date               |                           |                            |
| company, product               | never                     | never                      |

(h): in a record with health data, where the subject's own values reveal who is ill; a doctor's name
or a clinic's phone there stays as it is. No label is noisy, but a value without a telling header
may be ambiguous: nine bare digits, or a surname that is also a firm.

Training and validation share locales, headers, words and forms of numbers. The test split has
others (only the plainest dates and amounts are in both), and moves the record's key field to its
second half.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any, NamedTuple

from faker import Faker


class Role(NamedTuple):
    """What a field means in its row, and its headers: of training, then of the test."""

    kind: str
    owner: str  # "subject": whom the row is about; "staff": another person; "nobody"
    headers: tuple[str, str]


_ROLES = """
name; person_name; subject; name|full name|person|contact; holder|first and last
doctor; person_name; staff; doctor|physician|treated by|seen by; consultant|medic
email; email; subject; e-mail|mail|email address; electronic mail|inbox
mailbox; email; nobody; e-mail|mail|questions to; write to|service desk
phone; phone; subject; phone|tel|mobile|phone no; cell phone|call at
hotline; phone; nobody; phone|tel|hotline|phone no; switchboard|call centre
address; street_address; subject; address|street|lives at; home|residence
site; street_address; nobody; address|street|office|branch; premises|located at
city; city; subject; city|town|place|lives in; municipality|home town
seat; city; nobody; city|town|place|seat|registered in; head office|location
birth; date_of_birth; subject; date of birth|born|dob|born on; birthday|birth date
national_id; national_id; subject; national id|ssn|tax id; social security|id card
insurance; national_id; subject; insurance no|health card|insured as; policy of
iban; bank_account; subject; iban|account|pay to; bank details|salary account
account; bank_account; nobody; iban|account|bank; bank details|transfer to
card; credit_card; subject; card|credit card|paid with; card number|charged to
visitor_ip; ip_address; subject; ip|client|remote address|from ip; visitor|source
server_ip; ip_address; nobody; ip|server|host|server ip; machine|backend
username; username; subject; user|username|login|user id; account name|nickname
condition; health_condition; subject; diagnosis|condition|finding; illness
absence; health_condition; subject; absent for|sick note|ill with; unfit due to
buyer; company; nobody; customer|buyer|bill to|sold to; purchaser|client firm
supplier; company; nobody; supplier|company|from|seller; vendor|issued by
employer; company; nobody; employer|company|firm; business|works for
clinic; company; nobody; clinic|hospital|insurer|health centre; practice|ward of
product; product; nobody; product|item|article|name; goods|description
customer_no; reference_number; subject; customer no|client id|member; loyalty id
staff_no; reference_number; subject; employee no|staff id|badge; personnel file
patient_no; reference_number; subject; patient no|patient id|record; chart
order_no; reference_number; nobody; order no|order id|order; purchase|basket
invoice_no; reference_number; nobody; invoice no|invoice|invoice id; bill no
request_no; reference_number; nobody; request|session|trace|log id; event id
visit; event_date; subject; admitted|seen on|visit; appointment|treated on
hired; event_date; subject; hired|since|start date; joined|contract from
ordered; event_date; nobody; date|ordered|order date|sold on; purchased|bought on
issued; event_date; nobody; date|invoice date|issued; billed on|document date
due; event_date; nobody; due|due date|payable by; pay until|deadline
time; event_date; nobody; time|date|logged|seen on; timestamp|at
salary; amount; subject; salary|pay|gross|monthly pay; wage|earnings
cost; amount; subject; cost|fee|charged|treatment fee; bill|to pay
price; amount; nobody; price|total|amount|net total; sum|value of goods
"""
ROLES = {
    name: Role(kind, owner, (seen, unseen))
    for name, kind, owner, seen, unseen in (
        line.split("; ") for line in _ROLES.strip().splitlines()
    )
}
KINDS = list(dict.fromkeys(role.kind for role in ROLES.values()))
LABELS = [*KINDS, "direct_identifier", "sensitive"]

# A person's value of these kinds singles that person out ...
DIRECT = {"person_name", "email", "phone", "username", "ip_address", "reference_number"}
DIRECT |= {"national_id", "bank_account", "credit_card"}
# ... and of these kinds it is sensitive whatever stands beside it.
SENSITIVE = {"national_id", "bank_account", "credit_card", "amount", "health_condition"}

# Per kind of row the key field, which is always there, and the fields it may have. A field after
# `!` is always there, too.
SCHEMAS = (
    ("name", "customer_no birth email phone address city username card national_id"),
    ("name", "!condition patient_no birth insurance phone email address city visit clinic doctor"),
    ("name", "!condition insurance cost visit hotline clinic birth phone"),
    ("name", "staff_no birth email phone city national_id hired employer salary iban hotline"),
    ("name", "!absence staff_no birth phone city hired employer salary iban hotline"),
    ("order_no", "!product name customer_no ordered price address card supplier hotline"),
    ("order_no", "!product buyer supplier ordered price site seat hotline mailbox"),
    ("invoice_no", "!supplier buyer issued due price account hotline mailbox site seat"),
    ("visitor_ip", "time username email request_no product city server_ip"),
    ("server_ip", "time request_no supplier mailbox hotline seat"),
)

# From here on a pair holds what training and validation use, then what the test uses.
GENERIC_HEADERS = ("value|field|info|data|entry|text", "column|attribute|content|x|misc")
# Weights of true, missing, generic and wrong headers: one mix is drawn for each row.
HEADER_MIXES = [(1, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (4, 2, 2, 2), (4, 2, 2, 2)]
HEADER_STYLES = (
    (str.lower, str.title),
    (str.upper, lambda header: header.replace(" ", "_"), lambda header: header.replace(" ", "")),
)
# The form of a national id in each locale: `#` is a digit, `?` a letter.
NATIONAL_IDS = tuple(
    dict(entry.split(": ") for entry in forms.split("|"))
    for forms in (
        "en_US: ###-##-####|en_GB: ?? ## ## ## ?|de_DE: ## ### ### ###|es_ES: ########?|"
        "fr_FR: # ## ## ## ### ### ##|ro_RO: #############|da_DK: ######-####|"
        "cs_CZ: ######/####|fi_FI: ######-###?|hr_HR: ###########",
        "nl_NL: #########|pl_PL: ###########|pt_PT: ######## # ??#|sv_SE: ########-####",
    )
)
DATES = (
    "%Y-%m-%d|%d/%m/%Y|%d.%m.%Y|%B {d}, %Y|{d} %b %Y",
    "%Y-%m-%d|%d-%m-%Y|{d} %B %Y|%Y/%m/%d",
)
AMOUNTS = (
    "{:.2f}|{:,.2f} EUR|${:,.2f}|€ {:.0f}|{:.0f}|USD {:.2f}|{:.0f} Kč",
    "{:.2f}|{:,.0f} kr|EUR {:,.0f}|{:.2f} zł|{:.0f}|{:.0f},-",
)
NUMBERS = (
    "#####|#######|##########|?-#####|20##-####|??######|#### ####|#?####",
    "######|########|#########|??-#####|20##/###|##?#####|?#######",
)
MAILBOXES = ("info|sales|billing|support|office", "service|contact|invoices|desk|hello")
PRODUCTS = (
    "lamp|desk|kettle|chair|printer|sofa|tent|drill|camera|jacket|shelf|backpack|toner|cable|pump",
    "bicycle|heater|monitor|mattress|blender|scarf|ladder|router|speaker|stove|carpet|valve",
)
CONDITIONS = (
    "asthma|type 2 diabetes|migraine|hypertension|depression|eczema|epilepsy|hip fracture|anaemia|"
    "pneumonia|breast cancer|HIV infection|back pain|hepatitis B|multiple sclerosis|bronchitis|"
    "panic disorder|gallstones|angina|rheumatoid arthritis|obesity|alcohol dependence|flu|stroke|"
    "lyme disease|sleep apnoea|kidney stones|psoriasis|gastritis|torn ligament",
    "tonsillitis|Crohn's disease|burnout|glaucoma|osteoporosis|shingles|leukaemia|appendicitis|"
    "gout|concussion|bipolar disorder|tuberculosis|wrist fracture|heart failure|vertigo|sciatica",
)


class RowMaker:
    """Make the rows of one split; `unseen` is 1 for the test, else 0: the index into the pairs."""

    def __init__(self, seed: str, unseen: int) -> None:
        self.unseen, self.rng = unseen, random.Random(seed)
        self.fakers = {locale: Faker(locale) for locale in NATIONAL_IDS[unseen]}
        for locale, fake in self.fakers.items():
            fake.seed_instance(f"{seed} {locale}")

    def pick(self, pair: tuple[str, str]) -> str:
        """Choose a word of this split."""
        return self.rng.choice(pair[self.unseen].split("|"))

    def row(self) -> dict:
        """Return one record."""
        roles = [ROLES[name] for name in self.fields()]
        health, values = has_health(roles), Values(self)
        fields = [
            {"name": header, "value": values.make(role), "labels": labels_of(role, health)}
            for role, header in zip(roles, self.headers(roles))
        ]
        return {"fields": fields}

    def fields(self) -> list[str]:
        """Choose a schema and some of its fields; the key's place depends on the split."""
        key, others = self.rng.choice(SCHEMAS)
        maybe = others.split()
        fields = [maybe.pop(0)[1:]] if others.startswith("!") else []
        fields += self.rng.sample(maybe, self.rng.randint(3, 6))
        self.rng.shuffle(fields)
        half = (len(fields) + 1) // 2
        fields.insert(self.rng.randrange(half) + half * self.unseen, key)
        return fields

    def headers(self, roles: list[Role]) -> list[str | None]:
        """Give each field its header, none, one that says nothing, or its neighbour's."""
        style = self.rng.choice(HEADER_STYLES[self.unseen])
        weights = self.rng.choice(HEADER_MIXES)
        true = [self.pick(role.headers) for role in roles]
        headers: list[str | None] = []
        for index, own in enumerate(true):
            generic = f"{self.pick(GENERIC_HEADERS)} {index + 1}"
            header = self.rng.choices((own, None, generic, true[index - 1]), weights)[0]
            headers.append(header and style(header))
        return headers


def has_health(roles: list[Role]) -> bool:
    """Return True if one of the fields says who is ill."""
    return any(role.kind == "health_condition" for role in roles)


def labels_of(role: Role, health: bool) -> list[str]:
    """Apply the table above to a field of a record with or without health data."""
    labels = [role.kind]
    if role.owner != "nobody" and role.kind in DIRECT:
        labels.append("direct_identifier")
    if role.owner == "subject" and (health or role.kind in SENSITIVE):
        labels.append("sensitive")
    return labels


class Values:
    """Write the values of one record; a kind has the method of its name.

    The subject's name, user name and e-mail agree. Dates and national ids are not Faker's, which
    count from today: the data must be the same tomorrow.
    """

    def __init__(self, maker: RowMaker, locale: str | None = None) -> None:
        self.pick, self.rng = maker.pick, maker.rng
        locale = locale or self.rng.choice(list(maker.fakers))
        self.fake, self.id_form = maker.fakers[locale], NATIONAL_IDS[maker.unseen][locale]
        self.first, self.last = self.fake.first_name(), self.fake.last_name()

    def make(self, role: Role) -> str:
        """Return a value for a field of this role."""
        return getattr(self, f"_{role.kind}")(role.owner)

    def _person_name(self, owner: str) -> str:
        first, last, title = self.first, self.last, ""
        if owner == "staff":
            first, last = self.fake.first_name(), self.fake.last_name()
            title = self.rng.choice(("Dr. ", ""))
        form = self.rng.choice(("{0} {1}", "{0} {1}", "{0} {1}", "{1}, {0}", "{2}. {1}", "{1}"))
        return title + form.format(first, last, first[0])

    def _company(self, owner: str) -> str:
        # Some firms are called like a person: only the rest of the row tells them apart.
        person = f"{self.fake.first_name()} {self.fake.last_name()}"
        names = (self.fake.company(), self.fake.last_name(), person)
        return self.rng.choices(names, (4, 1, 1))[0]

    def _product(self, owner: str) -> str:
        brand = self.rng.choice((self.fake.first_name(), self.fake.last_name()))
        form = self.rng.choice(("{0} {1}", "{1} {0} {2}", "{0} {2}", "{1} {2}", "{1}"))
        return form.format(brand, self.pick(PRODUCTS), self.rng.randrange(2, 999))

    def _account_name(self, forms: tuple[str, ...]) -> str:
        first, last = _ascii(self.first), _ascii(self.last)
        return self.rng.choice(forms).format(first, last, first[0], self.rng.randrange(10, 2000))

    def _email(self, owner: str) -> str:
        local = self._account_name(("{0}.{1}", "{0}{1}", "{2}.{1}", "{1}{3}", "{0}_{3}"))
        return f"{self.pick(MAILBOXES) if owner == 'nobody' else local}@{self.fake.domain_name()}"

    def _username(self, owner: str) -> str:
        return self._account_name(("{0}{3}", "{2}{1}", "{0}-{1}", "{1}_{2}", "{1}{3}"))

    def _phone(self, owner: str) -> str:
        number = self.fake.phone_number()
        digits = "".join(char for char in number if char.isdigit())
        if owner == "nobody" and self.rng.random() < 0.4:
            return f"0800 {digits[-6:]}"
        return digits if self.rng.random() < 0.3 else number

    def _street_address(self, owner: str) -> str:
        return " ".join(self.fake.street_address().split())

    def _city(self, owner: str) -> str:
        return self.fake.city()

    def _date_of_birth(self, owner: str) -> str:
        return self._date(1940, 2010)

    def _event_date(self, owner: str) -> str:
        return self._date(1985 if owner == "subject" else 2000, 2025)

    def _date(self, first: int, last: int) -> str:
        day = date(first, 1, 1) + timedelta(days=self.rng.randrange(365 * (last - first)))
        return day.strftime(self.pick(DATES)).format(d=day.day)

    def _national_id(self, owner: str) -> str:
        return self.fake.bothify(self.id_form).upper()

    def _reference_number(self, owner: str) -> str:
        return self.fake.bothify(self.pick(NUMBERS)).upper()

    def _bank_account(self, owner: str) -> str:
        return self.fake.iban() if self.rng.random() < 0.8 else self.fake.numerify("#" * 12)

    def _credit_card(self, owner: str) -> str:
        number = self.fake.credit_card_number()
        width = self.rng.choice((4, len(number)))
        return " ".join(number[start : start + width] for start in range(0, len(number), width))

    def _ip_address(self, owner: str) -> str:
        makers = (self.fake.ipv4_public, self.fake.ipv4_private, self.fake.ipv6)
        return self.rng.choices(makers, (1, 4, 1) if owner == "nobody" else (6, 1, 2))[0]()

    def _health_condition(self, owner: str) -> str:
        if self.rng.random() < 0.2:  # a code as hospitals use it, such as E11.9
            return self.fake.bothify("?##.#").upper()
        return self.pick(CONDITIONS)

    def _amount(self, owner: str) -> str:
        low, high = (5, 4000) if owner == "nobody" else (1000, 9000)
        return self.pick(AMOUNTS).format(self.rng.uniform(low, high))


def _ascii(name: str) -> str:
    folded = unicodedata.normalize("NFKD", name.lower())
    return "".join(char for char in folded if char.isascii() and char.isalpha()) or "user"


def make_rows(split: str, count: int, seed: int = 0) -> list[dict]:
    """Return `count` records of "train", "validation" or "test", the same for the same `seed`."""
    if split not in ("train", "validation", "test"):
        raise ValueError(f"`split` must be 'train', 'validation' or 'test', got {split!r}.")
    maker = RowMaker(f"{seed} {split}", unseen=int(split == "test"))
    return [{"id": str(number), **maker.row()} for number in range(count)]


def print_record(record: dict, answers: Iterable[Any]) -> None:
    """Print each field with its labels, and the true ones where these differ."""
    print()
    for one, answer in zip(record["fields"], answers):
        found = {label["label"]: label["score"] for label in answer["labels"]}
        labels = ", ".join(f"{name} {score:.2f}" for name, score in found.items()) or "none"
        note = "" if set(found) == set(one["labels"]) else f"   [true: {', '.join(one['labels'])}]"
        print(f"  {one['name'] or '':16} {one['value']:32} {labels}{note}")


if __name__ == "__main__":
    for name in ("train", "validation", "test"):
        print(f"\n{name}", *map(repr, make_rows(name, 8)), sep="\n")
