"""`vigil replay`: recorded samples through the production code, so that a rule is judged before it is lived with."""
