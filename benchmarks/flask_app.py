"""What a model server is compared with: the same SavedModel in a Flask app, as tutorials have it."""

from __future__ import annotations

import base64
import os

import flask
import tensorflow as tf

app = flask.Flask(__name__)
model = tf.saved_model.load(os.environ["MODEL_PATH"])
predict_examples = model.signatures["serving_default"]


@app.post("/predict")
def predict() -> flask.Response:
    """Predictions of serialized tf.Examples."""
    instances = flask.request.get_json()["instances"]
    examples = [base64.b64decode(instance["b64"]) for instance in instances]
    predictions = predict_examples(examples=tf.constant(examples))["predictions"]
    return flask.jsonify({"predictions": predictions.numpy().tolist()})
