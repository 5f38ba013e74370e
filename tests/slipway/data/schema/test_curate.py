import pytest

from slipway.data.schema.curate import read_curated_schema
from slipway.data.schema.io import model_inputs
from slipway.errors import ConfigError
from slipway.module_api import Label

LABEL = Label(column="y", training_only=("late",))
Y = 'feature { name: "y" type: INT }\n'


def test_read_curated_schema_adds_the_marks_that_lack() -> None:
    schema = read_curated_schema(Y + 'feature { name: "late" type: FLOAT } feature { name: "x" type: FLOAT }', LABEL)
    assert [feature.name for feature in model_inputs(schema)] == ["x"]
    assert list(schema.default_environment) == ["TRAINING", "SERVING"]


def test_read_curated_schema_keeps_marks_that_are_there() -> None:
    text = 'feature { name: "y" type: INT not_in_environment: "SERVING" } default_environment: "SERVING"'
    schema = read_curated_schema(text, LABEL)
    assert list(schema.feature[0].not_in_environment) == ["SERVING"]
    assert sorted(schema.default_environment) == ["SERVING", "TRAINING"]


def test_read_curated_schema_that_does_not_parse_names_the_line() -> None:
    with pytest.raises(ConfigError, match=r"schema\.pbtxt:3: not a tensorflow_metadata Schema"):
        read_curated_schema(Y + 'feature {\n  nam: "x"\n}', LABEL)


def test_read_curated_schema_without_the_label_says_where_to_add_it() -> None:
    with pytest.raises(ConfigError, match=r"schema\.pbtxt has no feature 'y'.*add the feature to schema\.pbtxt"):
        read_curated_schema('feature { name: "x" type: FLOAT }', LABEL)


def test_read_curated_schema_with_a_label_for_serving_is_refused() -> None:
    text = 'feature { name: "y" type: INT in_environment: "SERVING" }'
    with pytest.raises(ConfigError, match="feature 'y' is in_environment: \"SERVING\""):
        read_curated_schema(text, LABEL)


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ('name: "x" type: STRUCT', "type STRUCT is not supported; use BYTES, INT or FLOAT"),
        ('name: "x"', "type TYPE_UNKNOWN is not supported"),
        ('name: "x" type: INT float_domain { min: 0 }', "float_domain does not go with type INT"),
        ('name: "x" type: BYTES domain: "d"', "there is no string_domain 'd'; it has none"),
        ('name: "x" type: INT presence { min_fraction: 1.5 }', "min_fraction 1.5 is not between 0 and 1"),
        ('name: "x" type: INT value_count { min: 2 max: 1 }', "value_count.max 1 is less than value_count.min 2"),
        ('name: "x" type: INT value_counts { }', "value_counts and group_presence are for nested features"),
        (
            'name: "x" type: INT distribution_constraints { min_domain_mass: 0.5 }',
            "distribution_constraints need a domain of strings",
        ),
        (
            'name: "x" type: INT drift_comparator { infinity_norm { threshold: 0.1 } }',
            "drift_comparator.infinity_norm compares strings; use jensen_shannon_divergence for type INT",
        ),
        (
            'name: "x" type: INT skew_comparator { normalized_abs_difference { threshold: 0.1 } }',
            "skew_comparator.normalized_abs_difference is not supported",
        ),
        ('name: "y" type: INT', "feature 'y' is given 2 times; keep one"),
    ],
)
def test_read_curated_schema_that_contradicts_itself_says_how(feature: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_curated_schema(f"{Y}feature {{ {feature} }}", LABEL)
