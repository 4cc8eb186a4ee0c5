#!/bin/sh
# Makes the two databases, each with a user that sees no other: the ledger of studies and the record of MLflow.
# PostgreSQL's image runs it once, as superuser, when its volume is empty; it may be run again.
set -eu
: "${OPTUNA_PASSWORD:?}" "${MLFLOW_PASSWORD:?}"

for name in optuna mlflow; do
  # psql reads the password from the environment, so that it is in no list of processes
  case $name in optuna) password=$OPTUNA_PASSWORD ;; mlflow) password=$MLFLOW_PASSWORD ;; esac
  PASSWORD=$password psql --no-psqlrc --quiet -v ON_ERROR_STOP=1 -v name="$name" \
    -U "${POSTGRES_USER:-postgres}" -d postgres <<'SQL'
\getenv password PASSWORD
SELECT format('CREATE ROLE %I LOGIN', :'name')
  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'name') \gexec
ALTER ROLE :"name" PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'name')
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
