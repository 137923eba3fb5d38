"""A deep-learning course in code: one module a chapter, each idea in its readable form."""
