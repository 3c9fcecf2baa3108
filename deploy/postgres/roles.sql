-- Who may do what, brought about anew whenever a node becomes primary or starts as
-- one, and therefore repeatable. A database for each service that has one, a role
-- for each process. Passwords come from the environment of roles.sh.
\getenv superuser_password superuser_password
\getenv identity_password identity_password
\getenv booking_password booking_password
\getenv worker_password worker_password
\getenv exporter_password exporter_password
\getenv replicator_password replicator_password
\getenv rewinder_password rewinder_password

SELECT format('CREATE ROLE %I LOGIN', name)
FROM unnest(ARRAY['identity', 'booking', 'worker', 'exporter', 'replicator', 'rewinder']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec

ALTER ROLE postgres PASSWORD :'superuser_password';
ALTER ROLE identity PASSWORD :'identity_password';
ALTER ROLE booking PASSWORD :'booking_password';
ALTER ROLE worker PASSWORD :'worker_password';
ALTER ROLE exporter PASSWORD :'exporter_password';
ALTER ROLE replicator REPLICATION PASSWORD :'replicator_password';
ALTER ROLE rewinder PASSWORD :'rewinder_password';

-- A process that stops in the middle of a transaction (paused, or cut off)
-- must not hold its locks for longer than this.
ALTER ROLE identity SET idle_in_transaction_session_timeout = '1s';
ALTER ROLE booking SET idle_in_transaction_session_timeout = '1s';
ALTER ROLE worker SET idle_in_transaction_session_timeout = '1s';

SELECT format('CREATE DATABASE %I OWNER %I', name, name)
FROM unnest(ARRAY['identity', 'booking']) AS name
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name)
\gexec

REVOKE CONNECT, TEMPORARY ON DATABASE identity, booking, postgres FROM PUBLIC;
GRANT CONNECT ON DATABASE booking TO worker;
GRANT CONNECT ON DATABASE booking, postgres TO exporter;
GRANT CONNECT ON DATABASE postgres TO rewinder;
GRANT pg_monitor TO exporter;
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
\connect booking
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
