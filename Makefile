# What one needs: Python >= 3.10 and make. Everything else is installed into .venv by the first target that needs it.

PYTHON ?= python3
BIN := .venv/bin

# What Airflow's version can break.
OLDEST := tests/test_call_args.py tests/test_dag.py tests/test_description.py tests/test_example_dags.py tests/test_instance_states.py \
	tests/test_lineage.py tests/test_links.py tests/test_operators.py tests/test_params.py tests/test_provider_info.py \
	tests/test_shown.py tests/test_task_context.py tests/test_triggers.py tests/test_workflow_operators.py \
	tests/test_large_xcoms.py tests/test_xcom_backend.py tests/test_metrics.py tests/test_run_options.py

TEMPLATE := airflow_wdl_ecs/infrastructure/template.yaml
CHECKERS := .venv-infrastructure/bin

.PHONY: help install demo test check docs format oldest clean

help:
	@echo "make demo     run a WDL workflow on this machine: a real Airflow, and an embedded ECS and S3"
	@echo "make test     run the tests        (ARGS=... for pytest)"
	@echo "make oldest   the tests of operators, trigger and DAGs, with the oldest Airflow that is supported"
	@echo "make browser  the tests of Airflow's interface in a browser; ARGS=--screenshots renews docs/images"
	@echo "make spec     the examples of the WDL specification, where its text is at hand"
	@echo "make science  a published workflow over real reads, beside the same commands by hand; docs/real-workflow.md"
	@echo "make contract what is relied on of ECS: on the embedded one, or with AWS_CONTRACT=1 on AWS; docs/contract.md"
	@echo "make faults   users' control and faults in full: hosts are killed, AWS fails; takes many minutes"
	@echo "make fuzz     WDL and inputs with mistakes in them, for minutes; SECONDS=... SEED=..."
	@echo "make bench-guard  the cheap ratios of speed, reported; benchmarks/ has the others, one command each"
	@echo "make check    lint, formats, types, the directions between modules, the CloudFormation template"
	@echo "make docs     the pages of docs/ as HTML, in docs/_build/html; warnings are errors"
	@echo "make format   format the code"
	@echo "make install  bring .venv up to date; the other targets do so themselves"
	@echo "make clean    remove .venv and what tools have cached"

install:
	@$(PYTHON) .ci/install.py

demo: install
	@$(BIN)/airflow-wdl-ecs run dags/wdl/kmers.wdl -d demo-output

test: install
	@$(BIN)/pytest $(ARGS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(PYTHON) .ci/install.py infrastructure
	$(CHECKERS)/cfn-lint --include-checks I --template $(TEMPLATE)
	$(CHECKERS)/checkov --file $(TEMPLATE) --framework cloudformation --compact --quiet --skip-download

docs: install
	@$(BIN)/sphinx-build -W --keep-going -n -q docs docs/_build/html

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

oldest:
	@$(PYTHON) .ci/install.py oldest
	@.venv-oldest/bin/python -m pytest -p no:cacheprovider $(OLDEST) $(ARGS)

clean:
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis demo-output docs/_build build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: faults
faults: install  # every row of docs/promises.md
	@$(BIN)/pytest tests/faults -m "faults or faults_in_full" $(ARGS)

.PHONY: spec
spec: install  # the examples of the WDL specification, through Airflow; writes docs/spec-conformance.md
	@$(BIN)/pytest tests/spec -m spec --spec-table $(ARGS)

.PHONY: science
science: install  # needs the published workflow and Debian's bwa, samtools, bcftools, freebayes; says so
	@$(BIN)/pytest tests/science -m science $(ARGS)

.PHONY: contract
contract: install  # AWS_CONTRACT=1 costs money, and says before how much at most
	@$(BIN)/pytest tests/contract_aws -m contract $(ARGS)

.PHONY: browser
browser: install  # needs Debian's chromium
	@$(BIN)/pytest tests/browser -m browser $(ARGS)

.PHONY: fuzz
fuzz: install  # the seed is printed; a case is found again with SEED and --start
	@$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),300) $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: bench bench-guard
bench:  # the environment of benchmarks/: .venv-bench/bin/python benchmarks/NAME.py; and that of what they compare with
	@$(PYTHON) .ci/install.py bench
	@$(PYTHON) .ci/install.py others

bench-guard: install
	@$(BIN)/python benchmarks/guard.py
