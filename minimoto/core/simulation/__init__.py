"""A fleet and its queue as discrete events, for rules that decide how large the fleet is. Pure and seeded."""
