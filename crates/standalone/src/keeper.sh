# The keeper: runs one server and outlives the process that asked for it by as long as stopping takes.
#
#   sh -c "$(cat keeper.sh)" keeper SIGNAL TICKS LOG CWD HOME OWNS PROGRAM [ARGUMENT...]
#
# Standard input is the life-line. A line `stop` stops the server; `own` and `leave` say whether this keeper is
# the one that removes the throw-away directory HOME (empty: none), OWNS (yes, no) says it for the beginning.
# The end of the life-line means that the owner is gone: stop the server, remove what is to be removed.
# SIGNAL asks the server to end; after TICKS of 50 ms it is killed.
# Standard output tells the owner: `started PID`, then `exited STATUS`.
signal=$1 ticks=$2 log=$3 cwd=$4 home=$5 owns=$6
shift 6
exec 3<&0 4>&1 </dev/null >/dev/null 2>>"$log" || exit 1

( exec 3<&- 4>&- && cd -- "$cwd" && exec "$@" >&2 ) &
server=$!

# Status and start time of the server; nothing once it is gone. The number alone might be used again.
born() {
    read -r line 2>/dev/null <"/proc/$server/stat" || return 1
    set -- ${line##*) }
    [ "$1" != Z ] && echo "${20}"
}
birth=$(born 2>/dev/null)
lives() { [ -n "$birth" ] && [ "$(born 2>/dev/null)" = "$birth" ]; }

halt() {
    lives || return 0
    kill -s "$signal" "$server" 2>/dev/null
    n=0
    while lives; do
        n=$((n + 1))
        [ "$n" -gt "$ticks" ] && kill -s KILL "$server" 2>/dev/null
        [ "$n" -gt "$((ticks + 200))" ] && return 1
        sleep 0.05
    done
}

(
    exec 4>&-
    while read -r word <&3; do
        case $word in
        stop) halt ;;
        own) owns=yes ;;
        leave) owns=no ;;
        esac
    done
    halt
    [ "$owns" = no ] || [ -z "$home" ] || rm -rf -- "$home"
) &
reader=$!
exec 3<&-

# With the owner gone nobody listens; the waiting goes on. Not before the server's start, which would inherit it.
trap '' PIPE
echo "started $server" 2>/dev/null >&4
wait "$server"
echo "exited $?" 2>/dev/null >&4
exec 4>&-
wait "$reader"
