#!/bin/bash
# keep.sh OWNER FOLDER [COMMAND...]: keeps FOLDER, and COMMAND running, for as long as the process OWNER lives. What
# COMMAND prints is in FOLDER/log.
#
# A shell, because it must outlive the process that starts it: under nextest every test is a process of its own, and the
# run, which they share, belongs to none of them. SIGTERM ends it early.
owner=$1 folder=$2
shift 2
command='' watch=''

finish() {
    trap '' TERM INT HUP
    [[ -z $watch ]] || kill "$watch" 2>/dev/null
    if [[ -n $command ]] && kill -QUIT "$command" 2>/dev/null; then
        # A command that a test left paused must wake up to end; one that does not end is killed.
        kill -CONT "$command" 2>/dev/null
        for _ in {1..100}; do
            kill -0 "$command" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$command" 2>/dev/null
    fi
    wait
    # The run's folder goes last: when it is gone, so is everything that was kept in it.
    if [[ -f $folder/keepers ]]; then
        while read -r keeper; do
            ((keeper == $$)) || timeout 15 tail --pid="$keeper" --sleep-interval=0.1 --follow /dev/null
        done <"$folder/keepers"
    fi
    # Again, because what runs in the folder may still write to it.
    for _ in {1..100}; do
        rm -rf -- "$folder" 2>/dev/null && break
        sleep 0.1
    done
    exit 0
}

trap finish TERM INT HUP
if (($# > 0)); then
    "$@" >"$folder/log" 2>&1 &
    command=$!
fi
tail --pid="$owner" --sleep-interval=0.2 --follow /dev/null &
watch=$!
wait -n
finish
