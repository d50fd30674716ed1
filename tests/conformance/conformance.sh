#!/bin/sh
# conformance.sh CONFORM FOLDER: replays the recordings of a folder; skipped without the folder.
set -eu
conform=$1
folder=$2
if [ ! -d "$folder" ]; then
    echo "skipped: there is no $folder"
    exit 77
fi
exec "$conform" "$folder"/*
