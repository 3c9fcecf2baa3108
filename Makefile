# Boxoffice: `make up`, then open the page that it prints.
# The work is done by the scripts under deploy/; this file only names it.

COMPOSE := docker compose
PORT = $(or $(BOXOFFICE_PORT),$(shell sed -n 's/^BOXOFFICE_PORT=//p' .env 2>/dev/null),8080)

# make crowd CUSTOMERS=500 SEATS=300 SECONDS=60 SEED=1
CUSTOMERS ?= 500
SEATS ?= 300
SECONDS ?= 60
SEED ?= 1

# An old client builds with BuildKit only when it is told to.
export DOCKER_BUILDKIT := 1

.DEFAULT_GOAL := help
.PHONY: help up down clean backup restore logs images engine crowd chaos check test bench bounds queries toolbox

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

up: engine ## look at the machine, start everything, wait until a ticket could be bought
	@deploy/engine/machine.sh
	@echo "Building the images: some ten minutes the first time on two cores, seconds after that."
	@deploy/images.sh
	@deploy/networks.sh
	@$(COMPOSE) up --detach
	@echo "Waiting until every part is healthy: half a minute or so."
	@deploy/engine/healthy.sh 300
	@echo
	@echo "Boxoffice is open: http://localhost:$(PORT)/"

down: ## stop everything; what was sold stays
	@$(COMPOSE) down --remove-orphans

clean: ## stop everything and forget it: data, keys, settings of images
	@$(COMPOSE) down --volumes --remove-orphans
	@deploy/standin/images.sh forget

backup: ## a base backup of Postgres, beside those that are taken by themselves
	@node=$$(deploy/postgres/leader.sh) && $(COMPOSE) exec -T $$node sh /etc/boxoffice/backup.sh now

restore: ## Postgres as it was at a moment: AT='2026-11-30 12:00:00' (UTC)
	@AT="$(AT)" TIMELINE="$(TIMELINE)" NODE="$(NODE)" deploy/postgres/restore.sh

logs: ## follow all logs
	@$(COMPOSE) logs --follow --tail 20

engine: ## make sure that a container engine answers
	@deploy/engine/start.sh

images: engine ## get or build the images of other people's parts
	@deploy/standin/images.sh

crowd: ## a crowd sells out a hall: CUSTOMERS= SEATS= SECONDS= SEED=
	@$(COMPOSE) run --rm --no-deps flash-crowd run \
		--customers $(CUSTOMERS) --seats $(SEATS) --seconds $(SECONDS) --seed $(SEED)

chaos: ## faults on the running stack: MINUTES= SEED= FAULTS= AGAIN=1
	@MINUTES="$(MINUTES)" SEED="$(SEED)" FAULTS="$(FAULTS)" AGAIN="$(AGAIN)" deploy/test/chaos.sh

check: ## what can be checked without a stack: formatting, lints, unit tests
	@deploy/test/check.sh

test: ## all checks, the failover tests included, on stacks of their own: ONLY= KEEP=1 STACKS=
	@ONLY="$(ONLY)" KEEP="$(KEEP)" STACKS="$(STACKS)" deploy/test/run.sh

queries: ## write .sqlx anew, after a query or a migration changed
	@deploy/test/write-queries.sh

bench: ## the table of speed and size, on a stack of its own
	@deploy/test/bench.sh

bounds: ## the table of faults and bounds, on a stack of its own: RUNS= AGAIN=1
	@RUNS="$(RUNS)" FAULTS="$(FAULTS)" AGAIN="$(AGAIN)" deploy/test/bounds.sh

toolbox: images ## a shell with all tools in it
	@deploy/test/image.sh toolbox
	@deploy/toolbox/run.sh bash
