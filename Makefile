# The targets of x.py, for fingers that type make. ARGS goes to the command: make test ARGS="-k core"
COMMANDS := setup demo test check bench lab docs lock build release help
.PHONY: $(COMMANDS)
.DEFAULT_GOAL := help

$(COMMANDS):
	@python3 x.py $@ $(ARGS)
