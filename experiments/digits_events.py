"""How the camera of ``digits-events`` was chosen: events, what 5 ms steps keep, and a linear readout, on training digits alone.

Four fifths of the training digits fit a ridge classifier (regularisation 30) on the number of events of each line in each saccade; the fifth that is left scores it. Neither the
validation nor the test digits are seen.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
from sklearn.linear_model import RidgeClassifier

from neurofault.data import saccades
from neurofault.data.digits import digit_pixels, digit_roles

TRAVELS, BLACKS, THRESHOLDS = (64, 128, 192), (128, 256, 512), (300, 450, 600, 900)


def main() -> None:
    """Print a row a setting."""
    pixels, labels = digit_pixels()
    train = digit_roles(labels)["train"]
    held = len(train) // 5
    print("travel  black  threshold  events  kept by 5 ms steps  linear readout")
    for travel, black, threshold in itertools.product(TRAVELS, BLACKS, THRESHOLDS):
        camera = replace(saccades.Camera(), travel=travel, black=black, threshold=threshold)
        seen = saccades.seen(pixels[train], labels[train], train, camera)
        binned = saccades.BINNING.of(seen, "training digits")
        sample = np.repeat(np.arange(len(train)), np.diff(seen.starts))
        line = (seen.polarity.astype(np.int64) * saccades.SIDE + seen.y) * saccades.SIDE + seen.x
        counts = np.zeros((len(train), 3, 2 * saccades.SIDE**2))
        np.add.at(counts, (sample, np.minimum(seen.times // 100_000, 2), line), 1)
        features = counts.reshape(len(train), -1)
        probe = RidgeClassifier(30.0).fit(features[held:], labels[train][held:])
        score = probe.score(features[:held], labels[train][:held])
        events = len(seen.times) / len(train)
        kept = len(binned.spikes.steps) / len(seen.times)
        print(f"{travel:6}  {black:5}  {threshold:9}  {events:6.0f}  {kept:18.1%}  {score:14.1%}", flush=True)


if __name__ == "__main__":
    main()
