"""Random workflows, people, budgets and faults: the project tests itself. Never shipped."""
