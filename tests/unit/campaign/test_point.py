import json
from dataclasses import fields, replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerax.campaign.point import Point, parse_rates, parse_share, rate_and_share
from rerax.sealed import digest

POINT = Point(task="sst2", model="minilm", rate=1e-3)


def test_golden_hash():
    # Moving it orphans every campaign folder there is.
    assert POINT.hash == "c20a335efa940dc017739fe9608deba23e49fd161334e7942e62a6b7ecbc3339"


def test_polarity_is_in_the_identity_unless_plain():
    """Identities of rows that were kept before it came do not move."""
    assert "polarity" not in POINT.identity()
    other = replace(POINT, polarity="alternate")
    assert other.identity()["polarity"] == "alternate"
    assert other.hash != POINT.hash
    whole = replace(POINT, encoding="sign_magnitude", polarity="inverted")
    assert whole.polarity == whole.identity()["polarity"] == "inverted:0x7f"
    with pytest.raises(ValueError, match=r"is for chips on which SA1 is commoner, and sa1-share"):
        replace(whole, sa1_share=0.5)


def test_misread_is_in_the_identity_unless_0():
    assert "misread" not in POINT.identity()
    other = replace(POINT, misread=0.25)
    assert other.identity()["misread"] == 0.25
    assert other.spec.misread == 0.25
    assert (POINT.is_clean, replace(POINT, rate=0.0).is_clean) == (False, True)
    assert (replace(other, rate=0.0).is_clean, other.clean.is_clean) == (False, True)


def test_the_canonical_text_is_what_the_design_says():
    assert json.loads(json.dumps(POINT.identity()))["sa1_share"] == "904/1079"
    assert POINT.identity()["rate"] == 0.001
    assert digest({"b": 1e-3, "a": None}) == digest({"a": None, "b": 0.001})


@pytest.mark.parametrize(
    ("one", "other"), [(1e-3, 0.001), (0.0, -0.0), (0.1, 0.10), (0.1 + 0.2, 0.3)]
)
def test_one_number_is_one_rate(one, other):
    same = replace(POINT, rate=one).hash == replace(POINT, rate=other).hash
    assert same == (one == other)


def test_shares_are_ratios_however_written():
    hashes = {
        replace(POINT, sa1_share=share).hash
        for share in (Fraction(1, 2), parse_share("2/4"), parse_share("3:3"), parse_share("0.50"))
    }
    assert len(hashes) == 1


def test_every_field_is_in_the_identity():
    other = Point("rte", "bert", 0.5, Fraction(1, 3), "differential", 4, 2, None, "bfloat16",
                  "separate", "64x32", "encoder", "closest", "wordline", "layers=0", "alternate",
                  "share:0.9", 0.1, "128:ab")  # fmt: skip
    for field in fields(Point):
        base = replace(POINT, protection="sign") if field.name == "tested" else POINT
        changed = replace(base, **{field.name: getattr(other, field.name)})
        assert changed.hash != base.hash, field.name


def test_the_clean_hash_ignores_faults_alone():
    faulty = replace(POINT, rate=0.1, sa1_share=None, fault="flip", faulty="layers=0")
    assert faulty.clean_hash == POINT.clean_hash
    assert replace(faulty, misread=0.3).clean_hash == POINT.clean_hash
    for change in ({"bits": 7}, {"protection": "duplicate:3"}, {"model": "b"}, {"tile": "64x64"}):
        assert replace(POINT, **change).clean_hash != POINT.clean_hash


def test_not_a_number_is_never_hashed():
    with pytest.raises(ValueError):
        _ = replace(POINT, rate=float("nan")).hash


@given(st.floats(0, 1))
def test_rates_survive_being_written(rate):
    assert parse_rates(repr(rate)) == (rate,)


def test_rates_keep_their_order():
    assert parse_rates("1e-2, 0,1") == (0.01, 0.0, 1.0)


@pytest.mark.parametrize(
    "text", ["", "0,", "x", "nan", "inf", "-0.1", "1.01", "0.1;0.2", "1e999999999", "--1"]
)
def test_bad_rates_are_named(text):
    with pytest.raises(ValueError, match=r"rate .*: give "):
        parse_rates(text)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("9.04:1.75", Fraction(904, 1079)),
        ("904/1079", Fraction(904, 1079)),
        ("0.8378", Fraction(4189, 5000)),
        ("0:1", Fraction(0)),
        ("1:0", Fraction(1)),
        (" 1 : 3 ", Fraction(1, 4)),
    ],
)
def test_shares_are_read_exactly(text, share):
    assert parse_share(text) == share


def test_the_default_share_is_the_usual_split():
    assert POINT.sa1_share == parse_share("9.04:1.75") > Fraction(1, 2)


def test_one_shape_is_one_fault_however_written():
    hashes = {
        replace(POINT, fault=f"clustered:{shape}").hash for shape in ("2", "2.0", "2e0", "02")
    }
    assert len(hashes) == 1
    assert replace(POINT, fault="clustered:2.5").hash not in hashes
    assert replace(POINT, fault="clustered:2.0").identity()["fault"] == "clustered:2"


@pytest.mark.parametrize("text", ["", "x", "2", "-0.1", "0:0", "-1:2", "1:", "3/2", "1/0", "nan:1"])
def test_bad_shares_are_named(text):
    with pytest.raises(ValueError, match=r"sa1-share .*: give "):
        parse_share(text)


def test_rates_of_both_polarities_add_up_exactly():
    assert rate_and_share("0.0175", "0.0904") == (0.1079, Fraction(904, 1079))
    assert rate_and_share("0.1", "0.2") == (0.3, Fraction(2, 3))  # 0.1 + 0.2 != 0.3 in floats
    assert rate_and_share("0.25", "0") == (0.25, Fraction(0))
    assert rate_and_share("0", "0") == (0.0, Fraction(904, 1079))


@pytest.mark.parametrize(("sa0", "sa1"), [("0.6", "0.5"), ("x", "0.1"), ("0.1", "-0.1")])
def test_bad_polarity_rates_are_named(sa0, sa1):
    with pytest.raises(ValueError, match=r"sa[01] .*: give "):
        rate_and_share(sa0, sa1)
