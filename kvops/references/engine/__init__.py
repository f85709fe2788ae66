"""The meaning of JavaScript and TypeScript: parsed, evaluated without running, and matched against key families. Pure.

`syntax` parses, `declarations` and `program` collect names and calls, `evaluator` gives the values of an expression,
and `accesses` finds the calls that reach KV.
"""
