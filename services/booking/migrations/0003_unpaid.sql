-- What bounds seats that are kept without paying, and charges around the start of an event.

-- The attempt whose charge the bank may have received: noted before the request is sent. 0 where
-- none was. So an order whose event begins before its charge is requested ends without one, and one
-- whose answer was lost is found out about.
ALTER TABLE orders ADD COLUMN requested_attempt integer NOT NULL DEFAULT 0;
-- A worker of the version before notes nothing: what it has in flight may have been requested.
UPDATE orders SET requested_attempt = attempt WHERE state = 'pending';

-- Serves: what an account holds of an event, before it holds more (holds/place).
CREATE INDEX holds_active_customer ON holds (customer_id, event_id) WHERE state = 'active';
-- Serves: what an account has ordered of an event and not paid yet (holds/place).
CREATE INDEX orders_unpaid_customer ON orders (customer_id, event_id)
    WHERE state IN ('pending', 'declined');
