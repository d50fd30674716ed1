#!/bin/sh
# advise.sh TOOL: `kvferry advise` for models whose numbers are published.
set -eu
tool=$1
. "$(dirname -- "$0")/../support/tool_support.sh"
needs_python
# Hide a GPU and its cost table, if there are any.
CUDA_VISIBLE_DEVICES=
XDG_CACHE_HOME=$work/cache
export CUDA_VISIBLE_DEVICES XDG_CACHE_HOME
has_cuda=yes
"$tool" calibrate --help >/dev/null 2>&1 || has_cuda=

echo '{"model_type": "llama", "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "hidden_size": 4096, "torch_dtype": "bfloat16",
    "max_position_embeddings": 8192}' >"$work/llama.json"
echo '{"model_type": "deepseek_v3", "num_hidden_layers": 61, "num_attention_heads": 128,
    "num_key_value_heads": 128, "kv_lora_rank": 512, "qk_rope_head_dim": 64,
    "torch_dtype": "bfloat16", "num_nextn_predict_layers": 1}' >"$work/deepseek.json"

advise() {
    code=$1
    model=$2
    shift 2
    expect "$code" advise --model-config "$work/$model.json" "$@"
}

# row DEVICE HOST PATTERN: prints the number of that row.
row() {
    # shellcheck disable=SC2013 # they are numbers
    for number in $(sed -n "s/^rows\.\([0-9]*\)\.device_layout STRING $1\$/\1/p" "$work/values"); do
        if [ "$(value "rows\.$number\.host_layout")" = "$2" ] &&
            [ "$(value "rows\.$number\.pattern")" = "$3" ]; then
            echo "$number"
            return
        fi
    done
    complain "no row of $1, $2, $3"
    echo none
}

expect 0 advise --help
says out "Usage:"
says out "xample"

# Sizes: 128 KiB per token, blocks of 2 MiB.
advise 0 llama --json -
read_json
has context.config.token_bytes NUMBER '131072$'
has context.config.block_bytes NUMBER '2097152$'
has context.config.layer_bytes NUMBER '65536$'
has context.config.rank_32k_bytes NUMBER '4294967296$'
has context.config.total_1m_bytes NUMBER '137438953472$'
has context.config.layers.from STRING 'num_hidden_layers$'
has context.predicted_by STRING 'nothing'
has context.choose_device STRING 'contiguous$'
has context.striped NULL
[ "$(grep -c '^rows\.[0-9]*\.h2d_gbps NULL' "$work/values")" -eq 38 ] ||
    complain "not 38 rows without a speed"

# Pieces, from moves that the library lowers.
at=$(row k_v_apart whole random)
has "rows.$at.regions" NUMBER '64$'
has "rows.$at.piece_bytes" NUMBER '32768$'
has "rows.$at.pieces_per_block" NUMBER '64\(\.0\)\{0,1\}$'
at=$(row layer_block whole random)
has "rows.$at.piece_bytes" NUMBER '65536$'
at=$(row k_v_apart whole_turned random)
has "rows.$at.piece_bytes" NUMBER '256$'
has "rows.$at.pieces_per_block" NUMBER '8192\(\.0\)\{0,1\}$'
at=$(row contiguous whole contiguous)
has "rows.$at.piece_bytes" NUMBER '4294967296$'
at=$(row contiguous whole random)
has "rows.$at.piece_bytes" NUMBER '2097152$'
at=$(row token_first whole random)
has "rows.$at.piece_bytes" NUMBER '2048$'

# Ranks: heads are divided, then replicated.
advise 0 llama --tp 8 --json -
read_json
has context.config.block_bytes NUMBER '262144$'
has context.config.copies NUMBER '1$'
has context.config.total_32k_bytes NUMBER '4294967296$'
advise 0 llama --tp 16 --kv-dtype fp8 --block-tokens 64 --json "$work/out.json"
says out "2 ranks keep the same blocks"
says out "bench collective"
says out "positions"
says out "no speed is predicted"
cp "$work/out.json" "$work/out"
read_json
has context.config.copies NUMBER '2$'
has context.config.block_bytes NUMBER '524288$'
advise 0 deepseek --tp 8 --json -
read_json
has context.config.block_bytes NUMBER '1124352$'
has context.config.copies NUMBER '8$'
at=$(row layer_mla whole random)
has "rows.$at.regions" NUMBER '61$'
has "rows.$at.piece_bytes" NUMBER '18432$'
has context.config.notes.0 STRING
advise 0 llama --block-tokens 5 --pattern run:8 --host-pattern random --json -
advise 0 llama --block-tokens 65536 --json -

# Predictions from results; beyond_measured marks larger pieces.
cell='"pattern": "random", "host_layout": "whole", "regions": 8, "bytes": 16777216, "verified": true'
cat >"$work/results.json" <<END
{"schema_version": 2, "command": "bench transfer", "context": {}, "rows": [
    {"direction": "h2d", "strategy": "auto", "fragment_bytes": 8192, "gbps": 20, $cell},
    {"direction": "h2d", "strategy": "auto", "fragment_bytes": 131072, "gbps": 40, $cell}]}
END
advise 0 llama --results "$work/results.json" --pattern random --json -
read_json
has context.predicted_by STRING
at=$(row k_v_apart whole random)
has "rows.$at.h2d_gbps" NUMBER '30\(\.0\)\{0,1\}$'
has "rows.$at.onboard_32k_ms" NUMBER '143\.16'
has "rows.$at.onboard_1m_ms" NUMBER '4581\.29'
has "rows.$at.d2h_gbps" NULL
has "rows.$at.beyond_measured" BOOLEAN OFF
at=$(row contiguous whole random)
has "rows.$at.h2d_gbps" NUMBER '40\(\.0\)\{0,1\}$'
has "rows.$at.beyond_measured" BOOLEAN ON
at=$(row token_first whole random)
has "rows.$at.h2d_gbps" NULL
advise 0 llama --results "$work/results.json" --json "$work/before.json"
advise 0 llama --results "$work/results.json" --compare "$work/before.json"
says out "choose: "
advise 2 deepseek --results "$work/results.json" --compare "$work/before.json"
expect 0 bench transfer --bytes 4M --fragment-bytes 4K,64K --samples 3 --json "$work/host.json"
advise 0 llama --results "$work/host.json"
says out "no GPU's link"

# Predictions from a cost table, without a GPU.
if [ -n "$has_cuda" ]; then
    advise 0 llama --built-in-costs --json -
    read_json
    has context.predicted_by STRING 'built-in (the built-in cost table: published figures'
    has rows.0.h2d_gbps NUMBER
    has rows.0.d2h_by STRING
    has rows.0.onboard_1m_ms NUMBER
    has rows.0.first_layer_ms NUMBER
    advise 0 deepseek --tp 8 --built-in-costs
    says out "by arithmetic alone, 8 x"
    advise 2 llama --costs "$work/llama.json"
    says err "$work/llama.json"
else
    advise 2 llama --built-in-costs
    says err "built without engine cuda"
fi

# Bad usage and input.
expect 2 advise
says err "--model-config"
advise 2 llama --tp 0
advise 2 llama --tp 3
says err "32 attention heads"
advise 2 llama --tp 99999999
advise 2 llama --block-tokens 0
advise 2 llama --kv-dtype int4
advise 2 llama --layers some
advise 2 llama --pattern nonsense
advise 2 llama --host-pattern nonsense
advise 2 llama extra
advise 2 llama --built-in-costs --results "$work/results.json"
advise 2 llama --results "$work/llama.json"
says err "$work/llama.json"
advise 2 llama --results "$work/nothing"
advise 2 llama --json "$work/no/such/folder"
advise 2 nothing
says err "$work/nothing.json"
# bad TEXT MESSAGE: a config.json with TEXT is refused with MESSAGE.
bad() {
    printf '%s' "$1" >"$work/bad.json"
    advise 2 bad
    says err "$work/bad.json"
    says err "$2"
}
bad '' 'near end of file'
bad '{"n_layer": 1,' ':1:'
bad '{"n_layer": 1, "n_layer": 2}' 'duplicate'
bad '{"n_layer": 1}' 'num_attention_heads'
bad '[]' 'not a JSON object'
bad "$(head -c 100000 /dev/zero | tr '\0' '[')" 'depth'
bad '{"n_layer": 4096, "n_head": 16777216, "head_dim": 4096, "dtype": "float32"}' 'to be laid out'
bad '{"n_layer": 4096, "n_head": 16777216, "head_dim": 16777216, "dtype": "float32"}' 'laid out'
mkdir "$work/folder.json"
advise 2 folder
[ "$failures" -eq 0 ]
