"""The cardiac cycle."""

import numpy as np
import pytest

from heart_assets.phantom.motion import aortic_opening, aortic_pulse, atrial_kick, contraction, mitral_opening, smoothstep
from heart_assets.phantom.traits import neutral_values

TRAITS = dict(neutral_values())
PHASES = np.linspace(0, 1, 401)


def test_smoothstep():
    assert smoothstep(np.array([-1.0, 0.0, 0.5, 1.0, 2.0])).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_contraction_is_zero_at_end_diastole_and_one_at_end_systole():
    beat = contraction(PHASES, TRAITS)
    assert beat[0] == 0 and beat[-1] == 0
    assert contraction(np.array([TRAITS["systole_end"]]), TRAITS)[0] == 1.0
    assert beat.min() >= 0 and beat.max() <= 1


def test_diastasis_holds_what_early_filling_leaves():
    assert contraction(np.array([0.72]), TRAITS)[0] == pytest.approx(1 - TRAITS["early_filling_share"])


def test_contraction_is_periodic_and_a_delay_shifts_it():
    assert contraction(PHASES + 1, TRAITS) == pytest.approx(contraction(PHASES, TRAITS), abs=1e-9)
    assert contraction(PHASES + 0.05, TRAITS, delay=0.05) == pytest.approx(contraction(PHASES, TRAITS), abs=1e-9)


@pytest.mark.parametrize("function", [contraction, atrial_kick, aortic_pulse])
def test_no_jumps(function):
    assert np.abs(np.diff(function(PHASES, TRAITS))).max() < 0.05


def test_valves_open_in_turn():
    mitral, aortic = mitral_opening(PHASES, TRAITS), aortic_opening(PHASES, TRAITS)
    assert mitral.max() == pytest.approx(TRAITS["leaflet_opening"]) and aortic.max() == 1
    assert np.minimum(mitral, aortic).max() < 0.01
    assert mitral[0] == mitral[-1] == 0


def test_atria_contract_before_the_r_wave_and_the_aorta_swells_after():
    assert PHASES[atrial_kick(PHASES, TRAITS).argmax()] == pytest.approx(TRAITS["atrial_kick_onset"] + 0.14, abs=0.02)
    assert PHASES[aortic_pulse(PHASES, TRAITS).argmax()] == pytest.approx(TRAITS["aortic_pulse_peak"], abs=0.01)
