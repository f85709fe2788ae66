"""What JavaScript and TypeScript mean: parsed, evaluated without running, and matched against key families. Pure.

`syntax` parses, `declarations` and `program` collect names and calls, `evaluator` tells what an expression can stand
for, and `accesses` finds what reaches KV.
"""
