# Creates the bucket after each start if it is missing: `weed shell` works once master and filer are up.
i=0
until echo "s3.bucket.list" | weed shell 2>/dev/null | grep -qw mathloop; do
    i=$((i + 1))
    [ "$i" -le 60 ] || { echo "no bucket after $i tries" >&2; exit 1; }
    echo "s3.bucket.create -name mathloop" | weed shell >/dev/null 2>&1
    sleep 1
done
