import itertools
from fractions import Fraction

from rerax.campaign.grid import axes_of, expand, spread, unique
from rerax.campaign.point import FIELDS, Point

BASE = Point(task="sst2", model="minilm", rate=0.0)


def test_a_grid_is_the_product_with_the_rate_running_fastest():
    axes = {"rate": (0.0, 1e-3), "encoding": ("offset", "differential"), "bits": (8, 4)}
    points = expand(BASE, axes)
    assert [(p.bits, p.encoding, p.rate) for p in points] == [
        (bits, encoding, rate)
        for bits in (8, 4)
        for encoding in ("offset", "differential")
        for rate in (0.0, 1e-3)
    ]
    assert expand(BASE, dict(reversed(axes.items()))) == points


def test_points_of_one_program_stand_together():
    axes = {"rate": (0.0, 1e-3), "sa1_share": (Fraction(1, 2), Fraction(1, 3)), "bits": (8, 4)}
    programs = [p.bits for p in expand(BASE, axes)]
    assert sum(a != b for a, b in itertools.pairwise(programs)) == 1


def test_every_field_can_be_an_axis():
    assert sorted(field.loop for field in FIELDS.values()) == list(range(len(FIELDS)))


def test_what_a_point_holds_is_one_value():
    point = Point(
        task="sst2",
        model="m",
        rate=0.0,
        fault="clustered:2",
        protection="closest",
        tested="share:0.5",
    )
    others = set(FIELDS) - {"task", "model", "rate", "faulty", "sampled", "matrices"}
    for name in others:  # of matrices a tuple is a grid
        assert axes_of({name: getattr(point, name)}, None) == {name: (getattr(point, name),)}
        assert axes_of({name: [getattr(point, name)] * 2}, None)[name][1:] == (
            getattr(point, name),
        )
    assert axes_of({"matrices": "pooler,classifier"}, None)["matrices"] == ("pooler,classifier",)


def test_repeated_values_make_one_point_in_the_first_place():
    points = expand(BASE, {"rate": (1e-2, 0.001, 1e-3, 0.01)})
    assert [p.rate for p in points] == [0.01, 0.001]


def test_flips_and_shorts_have_no_polarity():
    axes = {
        "fault": ("uniform", "flip", "clustered:2", "short"),
        "sa1_share": (Fraction(1, 2), Fraction(1, 3)),
    }
    points = expand(BASE, axes)
    shares = [p.sa1_share for p in points]
    half, third = Fraction(1, 2), Fraction(1, 3)
    assert shares == [half, third, None, half, third, None]
    assert unique([*points, *points]) == points


def test_no_axes_give_the_base():
    assert expand(BASE, {}) == (BASE,)


def test_noise_has_a_place_at_rate_0_too():
    """What is sensed wrongly is, where faults act; a point with neither stands once."""
    noisy, clean = (Point(task="sst2", model="m", rate=0.0, misread=s) for s in (0.3, 0.0))
    scopes = ["layers=each", "matrices=pooler"]
    assert [p.faulty.text for p in spread([noisy], scopes, 2)] == [
        "layers=0", "layers=1", "matrices=pooler"]  # fmt: skip
    assert [p.faulty for p in spread([clean], scopes, 2)] == [None]
