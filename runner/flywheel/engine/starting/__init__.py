"""A project from one table: read it, guess what it is for, split it, write the spec. `flywheel init --from TABLE`."""
