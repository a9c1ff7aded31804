#!/bin/bash
# keep.sh OWNER FOLDER [COMMAND...]: keeps FOLDER, and COMMAND running, for as long as the process OWNER lives. What
# COMMAND prints is in FOLDER/log. FOLDER/kept, where there is one, lists what other keepers keep in it: it goes last.
#
# A shell, because it must outlive the process that starts it: under nextest every test is a process of its own, and the
# run, which they share, belongs to none of them. SIGTERM ends it early.
owner=$1 folder=$2
shift 2
command='' watch=''
# What ends some servers makes others write down their memory first.
ulimit -c 0

# A zombie has ended too; nobody may be there to collect it.
watch_owner() {
    local stat
    while read -r stat 2>/dev/null <"/proc/$owner/stat" && [[ ${stat##*) } != Z* ]]; do sleep 0.2; done
} 2>/dev/null

# Asks up to 150 times, which is 15 seconds, whether it is so.
wait_until() {
    for _ in {1..150}; do
        "$@" && return
        sleep 0.1
    done
    return 1
}

has_ended() { ! kill -0 "$command" 2>/dev/null; }

nothing_is_kept() {
    local pid kept
    while read -r pid kept; do
        [[ $pid == "$$" || ! -e $kept ]] || return 1
    done <"$folder/kept"
}

finish() {
    trap '' TERM INT HUP
    [[ -z $watch ]] || kill "$watch" 2>/dev/null
    if [[ -n $command ]] && kill -QUIT "$command" 2>/dev/null; then
        # A command that a test left paused must wake up to end; one that does not end is killed.
        kill -CONT "$command" 2>/dev/null
        wait_until has_ended || kill -KILL "$command" 2>/dev/null
    fi
    wait
    [[ ! -f $folder/kept ]] || wait_until nothing_is_kept
    # Again, because what runs in the folder may still write to it.
    wait_until rm -rf -- "$folder" 2>/dev/null
    exit 0
}

trap finish TERM INT HUP
if (($# > 0)); then
    "$@" >"$folder/log" 2>&1 &
    command=$!
fi
watch_owner &
watch=$!
wait -n
finish
