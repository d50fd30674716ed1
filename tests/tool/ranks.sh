#!/bin/sh
# ranks.sh BENCH: the environment that bench/ranks gives its ranks, its exit code, and that no rank
# outlives it.
set -eu
bench=$1
. "$(dirname -- "$0")/../support/tool_support.sh"
tool=$bench/ranks
unset RANK LOCAL_RANK WORLD_SIZE MASTER_ADDR MASTER_PORT

# A test's rank: starts a child, which must end with it, and then runs its argument. With a second
# argument it starts no child.
cat >"$work/rank" <<END
#!/bin/sh
[ \$# -gt 1 ] || { sleep 100 & }
echo \$\$ \${!-} >"$work/processes.\$RANK"
eval "\$1"
END
chmod +x "$work/rank"

# runs PROCESS: whether it exists and is no zombie.
runs() {
    read -r stat 2>"$work/gone" <"/proc/$1/stat" && [ "${stat#*) Z}" = "$stat" ]
}

# none_left RANKS: so many ranks have run, and neither they nor their children do any more.
none_left() {
    [ "$(cat "$work"/processes.* | wc -l)" -eq "$1" ] || complain "not $1 ranks"
    # shellcheck disable=SC2013 # two words a line
    for process in $(cat "$work"/processes.*); do
        tries=50
        while runs "$process" && [ "$tries" -gt 0 ]; do # a killed process takes a moment to end
            sleep 0.1
            tries=$((tries - 1))
        done
        ! runs "$process" || complain "process $process still runs"
    done
    rm "$work"/processes.*
}

# stop SIGNAL CODE COMMANDS [alone]: sends the script a signal while its three ranks run, and expects
# the exit code.
stop() {
    # Background processes of a shell ignore SIGINT.
    # shellcheck disable=SC2086 # a word or none
    env --default-signal=INT "$tool" 3 "$work/rank" "$3" ${4-} >"$work/out" 2>"$work/err" &
    script=$! status=0
    until [ -s "$work/processes.0" ] && [ -s "$work/processes.1" ] && [ -s "$work/processes.2" ]; do
        sleep 0.1
    done
    kill -s "$1" "$script"
    wait "$script" || status=$?
    [ "$status" -eq "$2" ] || complain "after SIG$1: exit code $status, not $2"
}

for usage in '' 0 x -1 2 '0 true' '2x true'; do
    # shellcheck disable=SC2086 # a list of words
    expect 2 $usage
    says err 'Usage: bench/ranks N COMMAND'
done

# shellcheck disable=SC2016 # in all of these: for the inner shell
expect 0 3 sh -c 'echo "$RANK $LOCAL_RANK $WORLD_SIZE $MASTER_ADDR $MASTER_PORT" "$@"' sh 'a  b'
port=$(sed -n '1s/.*1 \(2[0-9]\{4\}\) .*/\1/p' "$work/out")
for rank in 0 1 2; do
    says out "$rank $rank 3 127.0.0.1 $port a  b"
done
export MASTER_PORT=1234
# shellcheck disable=SC2016
expect 0 1 sh -c 'echo $MASTER_PORT'
says out 1234
unset MASTER_PORT

# The highest exit code counts. After a failure, the other ranks have time to end.
# shellcheck disable=SC2016
expect 3 4 sh -c 'exit $RANK'
says err 'ranks: rank 3 ended with exit code 3'
expect 127 1 "$work/nothing"
# shellcheck disable=SC2016
expect 2 2 sh -c '[ $RANK = 0 ] && exit 2; sleep 1; echo done'
says out 'done'

# Ranks that do not end are killed, even stopped ones.
# shellcheck disable=SC2016
expect 3 3 "$work/rank" '[ $RANK = 1 ] && kill $! && exit 3; [ $RANK = 0 ] || kill -STOP $$; sleep 100'
says err 'ranks: killing the remaining ranks'
none_left 3
# shellcheck disable=SC2016
expect 137 2 "$work/rank" '[ $RANK = 1 ] && kill $! && kill -9 $$; sleep 100'
says err 'ranks: rank 1 ended with exit code 137'
none_left 2

stop HUP 129 'sleep 100'
none_left 3
stop INT 130 'sleep 100'
none_left 3
stop TERM 143 'sleep 100'
none_left 3
stop KILL 137 'exec sleep 100' alone # the kernel does not end the ranks' children
none_left 3
[ "$failures" -eq 0 ]
