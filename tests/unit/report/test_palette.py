import itertools

import numpy as np
import pytest

from rerax.report.palette import CURVES, DARK, LIGHT, SHADES, shade

SEEN_BY = {
    "all": np.eye(3),
    # Machado, Oliveira and Fernandes, IEEE Trans. Vis. Comput. Graph. 15, 2009: severity 1
    "no red": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}


def linear(colour):
    parts = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def luminance(colour):
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def lab(light):
    """CIE L*a*b* of linear sRGB."""
    white = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(np.array(white) @ light / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_can_be_told_from_their_paper(colours):
    for name in ("ink", "quiet", "accent"):
        for paper in ("paper", "wash"):
            assert contrast(colours[name], colours[paper]) >= 4.5, name
    for k in range(CURVES):
        assert contrast(colours[f"s{k}"], colours["paper"]) >= 3, k
    for k in range(SHADES):
        text = "ink" if k <= SHADES // 2 else "paper"
        assert contrast(colours[f"h{k}"], colours[text]) >= 4.5, k
    shades = [luminance(colours[f"h{k}"]) for k in range(SHADES)]
    assert shades == sorted(shades, reverse=colours is LIGHT)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("eye", SEEN_BY)
def test_colours_of_curves_can_be_told_from_each_other(colours, eye):
    matrix = np.array(SEEN_BY[eye])
    seen = [lab(np.clip(matrix @ linear(colours[f"s{k}"]), 0, 1)) for k in range(CURVES)]
    for one, other in itertools.combinations(range(CURVES), 2):
        assert np.linalg.norm(seen[one] - seen[other]) >= 12, (one, other)


def test_shades_follow_the_loss():
    assert [shade(value, 8.0) for value in (-1.0, 0.0, 4.0, 8.0)] == [0, 0, 4, 8]
    assert shade(0.0, 0.0) == 0
