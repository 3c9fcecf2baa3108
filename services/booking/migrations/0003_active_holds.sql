-- Serves: what an account holds of an event, before it holds more (holds/place).
-- An index is built under a lock that keeps writes of its table waiting and no reads: so this and the
-- next are migrations of their own, and neither keeps one table while it waits for the other.
-- CONCURRENTLY would wait for the other replicas, which wait for the lock on migrations.
CREATE INDEX holds_active_customer ON holds (customer_id, event_id) WHERE state = 'active';
