"""Applications for a loan as dense features; what is missing says something, too, so it stays known.

The credit history is by far the most telling column: with a bad one next to nobody gets a loan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slipway.module_api import fill_missing

if TYPE_CHECKING:
    import tensorflow as tf

CATEGORIES = ("Gender", "Married", "Dependents", "Education", "Self_Employed", "Property_Area")
NUMBERS = ("ApplicantIncome", "CoapplicantIncome", "LoanAmount", "Loan_Amount_Term")
VOCABULARY = "categories"
VOCABULARY_SIZE = 100  # of which the data has about 25
UNKNOWN = -1  # in the place of a credit history that is missing


def preprocessing_fn(inputs: dict[str, tf.SparseTensor]) -> dict[str, tf.Tensor]:
    """Raw applications to dense features.

    Returns:
        `numbers`, float32 `[batch, 10]`: logarithms of the numbers, of the whole income and of the loan for each unit
        of it, all with mean 0 and deviation 1; then 1 for each number that is missing. `categories`, int64
        `[batch, 7]`: an index for each, of which missing is one.
    """
    import tensorflow as tf
    import tensorflow_transform as tft

    known = {name: tf.cast(fill_missing(inputs[name], 0), tf.float32) for name in NUMBERS}
    missing = [tf.cast(fill_missing(inputs[name], UNKNOWN) == UNKNOWN, tf.float32) for name in NUMBERS]
    income = known["ApplicantIncome"] + known["CoapplicantIncome"]
    amounts = [tf.math.log1p(tf.nn.relu(value)) for value in (*known.values(), income)]
    rate = tf.math.log1p(tf.nn.relu(known["LoanAmount"])) - tf.math.log1p(tf.nn.relu(income))
    scaled = tft.scale_to_z_score(tf.stack([*amounts, rate], axis=1), elementwise=True)
    history = tf.as_string(fill_missing(inputs["Credit_History"], UNKNOWN))
    values = tf.stack([*(fill_missing(inputs[name], "") for name in CATEGORIES), history], axis=1)
    names = tf.constant([f"{name}=" for name in (*CATEGORIES, "Credit_History")])
    return {
        "numbers": tf.concat([scaled, tf.stack(missing, axis=1)], axis=1),
        "categories": tft.compute_and_apply_vocabulary(
            names + values, top_k=VOCABULARY_SIZE, num_oov_buckets=1, vocab_filename=VOCABULARY
        ),
    }
