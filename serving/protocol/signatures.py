"""Names that the contract with TensorFlow Serving fixes: of signatures, and of the methods that they serve."""

SERVING_DEFAULT = "serving_default"  # of requests that name no signature
RAW, CLASSIFY, TRANSFORM = "raw", "classify", "transform_features"
PREDICTIONS = "predictions"

PREDICT_METHOD = "tensorflow/serving/predict"
CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"
