"""A page on which a person gets a prediction of a served model: a form, the answer with what moved it, a table."""
