-- Serves: what an account has ordered of an event and not paid yet (holds/place).
CREATE INDEX orders_unpaid_customer ON orders (customer_id, event_id)
    WHERE state IN ('pending', 'declined');
