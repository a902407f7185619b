# Sourced by setup.sh and run.sh, for commands beside each other. Each has a process group of its own, which ends with the script,
# however that ends: Ctrl-C, a signal or an error.
set -m
pids=()
beside() { # COMMAND...: starts it
	"$@" </dev/null &
	pids+=($!)
}
together() { # waits for all that were started; false if one failed
	local failed=0 pid
	for pid in "${pids[@]}"; do
		wait "$pid" || failed=1
	done
	pids=()
	return $failed
}
stop() {
	local pid
	trap '' INT TERM HUP
	for pid in "${pids[@]}"; do
		kill -TERM -- "-$pid" || continue
		wait "$pid" || true # it may have such groups of its own to end
	done 2>/dev/null
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
