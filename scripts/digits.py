"""The main job: a 64-64-10 network on scikit-learn's handwritten digits, trained by the index formulas.

Run it with `bash scripts/quickstart`. Prints losses and accuracies, compares the index with the matrix form on this
very network, and writes quickstart/digits.png, quickstart/digits.safetensors.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import jitnet as jn
from jitnet.plots import confusion_matrix, training_picture

# The best of 19 settings by twice 5-fold cross-validation on the 80 % that are not the test part (accuracy 0.984). The
# parameters of the last epoch are kept: the validation part is for the curve, the test part is looked at once.
EPOCHS, BATCH, RATE, DROPOUT, L2 = 120, 32, 1e-2, 0.2, 1e-4


def main() -> None:
    """Train, judge, compare, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("quickstart"), help="folder for the picture and the model")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(soft_wrap=True)

    digits = load_digits()
    X, labels = digits.data / 16.0, digits.target
    X_rest, X_test, t_rest, t_test = train_test_split(X, labels, test_size=0.2, stratify=labels, random_state=0)
    X_train, X_val, t_train, t_val = train_test_split(X_rest, t_rest, test_size=0.1, stratify=t_rest, random_state=0)

    mean = X_train.mean(axis=0)
    X_train, X_val, X_test = X_train - mean, X_val - mean, X_test - mean

    net = jn.Network([64, 64, 10], activation="relu", output="softmax", loss="cross_entropy", seed=0)
    console.print(f"{net!r}", markup=False)
    console.print(f"{len(X_train)} digits to train on, {len(X_val)} to validate, {len(X_test)} to test\n")
    steps = EPOCHS * -(-len(X_train) // BATCH)
    began = time.perf_counter()
    history = net.fit(
        X_train,
        t_train,
        optimizer=jn.Adam(lr=jn.OneCycle(RATE, steps=steps)),
        epochs=EPOCHS,
        batch_size=BATCH,
        dropout=DROPOUT,
        l2=L2,
        validation=(X_val, t_val),
        metrics=["accuracy"],
        verbose=True,
    )
    seconds = time.perf_counter() - began
    console.print(f"\n{len(history)} epochs in {seconds:.1f} s, compilation (or its cache) included")

    table = Table("", "loss", "accuracy", title="without dropout and penalty", title_justify="left", min_width=34)
    for name, inputs, targets in (("train", X_train, t_train), ("validation", X_val, t_val), ("test", X_test, t_test)):
        judged = net.evaluate(inputs, targets)
        table.add_row(name, f"{judged['loss']:.4f}", f"{judged['accuracy']:.4f}")
    console.print(table)

    compared = jn.compare(net, X_train[:BATCH], t_train[:BATCH])
    title = f"index against matrix form, {compared.dtype}: largest differences"
    table = Table(
        "layer", "outputs", "deltas", "dJ/dW", "dJ/db", title=title, title_justify="left", min_width=len(title)
    )
    for row in compared.layers:
        table.add_row(f"{row.layer}", *(f"{v:.1e}" for v in (row.outputs, row.deltas, row.weights, row.biases)))
    console.print(table)
    console.print(f"central differences against the index form, relative: {compared.differences:.1e}\n")
    title = f"a training step of {compared.points} digits"
    table = Table("form", "microseconds", title=title, title_justify="left", min_width=len(title))
    for form, step in compared.seconds.items():
        table.add_row(form, f"{step * 1e6:.1f}")
    console.print(table)

    predicted = net.classify(X_test)
    wrong = (predicted != t_test).argsort(kind="stable")[::-1][:10]
    shown = [*wrong[::-1], *range(10)]
    picture = folder / "digits.png"
    training_picture(
        picture,
        history,
        title=f"digits, 64-64-10: test accuracy {(predicted == t_test).mean():.4f}",
        confusion=confusion_matrix(t_test, predicted, 10),
        images=(X_test + mean)[shown].reshape(-1, 8, 8),
        labels=t_test[shown],
        predicted=predicted[shown],
    )
    net.save(folder / "digits.safetensors")
    console.print(f"\nwrote {picture} and {folder / 'digits.safetensors'}")


if __name__ == "__main__":
    main()
