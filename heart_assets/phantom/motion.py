"""The phantom's cardiac cycle: how contracted each part of the heart is at each phase.

What belongs here: functions of phase (0 at the R wave, 1 at the next) and timing traits. What does not: lengths in mm.
"""

from collections.abc import Mapping

import numpy as np


def smoothstep(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, 3x^2 - 2x^3 in between."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3 - 2 * x)


def contraction(phase: np.ndarray, traits: Mapping[str, float], delay: float = 0.0) -> np.ndarray:
    """Contraction of the ventricles: 0 at end diastole, 1 at end systole, periodic in phase.

    Ejection ends at `systole_end`; the contraction is held for `relaxation_delay`; early filling takes
    `early_filling_time` and undoes `early_filling_share` of it; the atrial kick, from `atrial_kick_onset`, the rest.

    Args:
        phase: any shape, in cycles.
        traits: timing traits by name, in cycles.
        delay: by how much this part of the heart lags, in cycles.
    """
    phase = np.mod(phase - delay, 1.0)
    end = traits["systole_end"]
    ejection = smoothstep((phase - 0.01) / (end - 0.01)) ** max(traits["ejection_skew"], 0.3)
    early = smoothstep((phase - end - max(traits["relaxation_delay"], 0.005)) / max(traits["early_filling_time"], 0.06))
    late = smoothstep((phase - traits["atrial_kick_onset"]) / 0.14)
    share = np.clip(traits["early_filling_share"], 0.2, 1.0)
    return ejection * (1 - share * early - (1 - share) * late)


def atrial_kick(phase: np.ndarray, traits: Mapping[str, float]) -> np.ndarray:
    """Contraction of the atria's own walls: 0 but for a hump (peak 1) over the atrial kick and the start of systole."""
    phase = np.mod(phase - traits["atrial_kick_onset"], 1.0)
    return smoothstep(phase / 0.13) * (1 - smoothstep((phase - 0.15) / 0.16))


def aortic_pulse(phase: np.ndarray, traits: Mapping[str, float]) -> np.ndarray:
    """Distension of the aorta: rises to 1 at `aortic_pulse_peak`, then decays over diastole."""
    peak = max(traits["aortic_pulse_peak"], 0.08)
    phase = np.mod(phase - 0.03, 1.0)
    return smoothstep(phase / (peak - 0.03)) * np.exp(-3.0 * np.maximum(phase - (peak - 0.03), 0)) * (1 - smoothstep((phase - 0.9) / 0.1))


def mitral_opening(phase: np.ndarray, traits: Mapping[str, float]) -> np.ndarray:
    """How far the leaflets of the mitral (and tricuspid) valve are open: two humps, early filling and atrial kick."""
    start = traits["systole_end"] + max(traits["relaxation_delay"], 0.005)
    early = smoothstep((phase - start) / 0.06) * (1 - 0.6 * smoothstep((phase - start - traits["early_filling_time"]) / 0.08))
    late = 0.5 * smoothstep((phase - traits["atrial_kick_onset"]) / 0.05)
    return np.clip((early + late) * (1 - smoothstep((phase - 0.93) / 0.06)), 0, 1) * traits["leaflet_opening"]


def aortic_opening(phase: np.ndarray, traits: Mapping[str, float]) -> np.ndarray:
    """1 while the aortic valve is open (ejection), 0 while it is closed."""
    return smoothstep((phase - 0.04) / 0.03) * (1 - smoothstep((phase - traits["systole_end"] + 0.03) / 0.03))
