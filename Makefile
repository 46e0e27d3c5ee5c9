# Every target does all the set-up it needs, inside this folder. Flags go through ARGS="...".
.PHONY: install serve lint format check test coverage journeys proof bench synth deploy destroy lock sbom costs
PYTEST = exec .venv/bin/python -m pytest

install: ; @tools/bootstrap dev
serve: ; @tools/bootstrap runtime && exec .venv/bin/farebox serve $(ARGS)
lint: install ; @.venv/bin/ruff check . && .venv/bin/ruff format --check .
format: install ; @.venv/bin/ruff check --fix . && .venv/bin/ruff format .
check: install ; @.venv/bin/mypy layers/core/python/farebox infra functions app.py tests tools && .venv/bin/lint-imports --no-logo
test: install ; @$(PYTEST) -n auto $(ARGS)
coverage: install ; @$(PYTEST) -n auto --cov --cov-report=term $(ARGS)
journeys: install ; @tools/clients && $(PYTEST) -n auto --dist loadfile --timeout 300 -m journey $(ARGS)
proof: install ; @$(PYTEST) -n auto --timeout 1800 -m proof --hypothesis-profile=proof $(ARGS)
bench: install ; @exec .venv/bin/python -m tests.bench $(ARGS)
synth: ; @tools/cdk synth --quiet $(ARGS)
deploy: ; @tools/cdk deploy --all $(ARGS)
destroy: ; @tools/cdk destroy --all $(ARGS)
lock: ; @tools/lock $(ARGS)
sbom: install ; @exec .venv/bin/python -m tools.sbom
costs: ; @tools/bootstrap runtime && exec .venv/bin/python -m tools.costs $(ARGS)
