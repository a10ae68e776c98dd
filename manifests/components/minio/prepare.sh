# Can be run again safely. Secrets are passed in the environment and on stdin, never as arguments. The image has a
# shell, but no grep or sed.
set -eu
scheme=${ENDPOINT%%://*}
export MC_HOST_store="$scheme://$ROOT_KEY:$ROOT_SECRET@${ENDPOINT#*://}"
until mc ready store; do sleep 2; done
mc mb --ignore-existing store/mathloop
mc admin policy create store mathloop /etc/mathloop/policy.json
printf '%s\n%s\n' "$KEY" "$SECRET" | mc admin user add store
# Attaching a policy twice is an error, so check the account's final state instead.
mc admin policy attach store mathloop --user "$KEY" || true
case $(mc admin user info store "$KEY") in
    *"PolicyName: mathloop"*) echo "the bucket and its account are ready" ;;
    *) echo "the account has no policy" >&2; exit 1 ;;
esac
