#!/bin/sh
# conformance.sh CONFORM FOLDER: replays the recordings in a folder; skipped if it does not exist.
set -eu
conform=$1
folder=$2
if [ ! -d "$folder" ]; then
    echo "skipped: $folder does not exist"
    exit 77
fi
exec "$conform" "$folder"/*
