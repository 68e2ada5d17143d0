"""Which task goes to which node: eligibility (every "no" has its reason), ranking (one rule a file), offers, plan."""
