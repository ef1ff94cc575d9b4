"""The paper's table: other methods beside this one, on the same photos, by the same priors and one evaluator."""
