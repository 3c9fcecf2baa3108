//! `GET /api/booking/tickets/{id}/pdf`.
//!
//! A plain read of one statement, read committed.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use messages::account::Account;
use problem::Problem;
use problem::extract::Path;
use uuid::Uuid;

use crate::app::App;
use crate::routes::answers;

/// Read a ticket as PDF.
///
/// With a QR code that says the ticket's `code`. Not there until it is rendered, a moment after the
/// payment. It carries its fonts; a character of a script that they do not print shows as its code
/// point, such as `[U+0634]`.
#[utoipa::path(
    get,
    path = "/api/booking/tickets/{id}/pdf",
    operation_id = "read_ticket_pdf",
    tag = "tickets",
    params(("id" = Uuid, Path, description = "The `id` of a ticket of `list_tickets`")),
    security(("session" = [])),
    responses(
        answers::Read,
        (status = 200, description = "The ticket", body = Vec<u8>, content_type = "application/pdf"),
        (status = 404, description = "not-found; with Retry-After where it is not rendered yet", body = problem::Body, content_type = "application/problem+json"),
        (status = 410, description = "ticket-cancelled", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn read_pdf(
    State(app): State<App>,
    account: Account,
    Path(id): Path<Uuid>,
) -> Result<impl IntoResponse, Problem> {
    let ticket = sqlx::query!(
        r#"SELECT tickets.state = 'cancelled' AS "cancelled!",
            CASE WHEN tickets.state <> 'cancelled' THEN pdf END AS pdf
        FROM tickets JOIN orders ON orders.id = tickets.order_id
        WHERE tickets.id = $1 AND customer_id = $2"#,
        id,
        account.id
    )
    .fetch_optional(&app.pool)
    .await?
    .ok_or_else(|| Problem::not_found("you have no such ticket"))?;
    match ticket.pdf {
        Some(pdf) => Ok(([(header::CONTENT_TYPE, "application/pdf")], pdf)),
        None if ticket.cancelled => Err(Problem::new(
            StatusCode::GONE,
            "ticket-cancelled",
            "The ticket is cancelled",
            "the order of this ticket was cancelled",
        )),
        None => Err(Problem::not_found("the ticket is not rendered yet").retry_after(1)),
    }
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use crate::fixture::{Fixture, who};
    use crate::routes::orders::list_tickets::{TicketState, Tickets};

    #[sqlx::test(migrations = "./migrations")]
    #[ignore = "needs the stores: make test"]
    async fn a_ticket_is_there_once_rendered_gone_once_cancelled_and_nobody_elses(pool: PgPool) {
        let house = Fixture::with_seats(pool, 1, 2).await;
        let (ann, bob) = (who("customer"), who("customer"));
        let order = house.order(&ann, 2).await;
        let list = format!("/api/booking/orders/{}/tickets", order.id);
        assert!(
            house
                .get(&ann, &list)
                .await
                .expect::<Tickets>(200)
                .items
                .is_empty()
        );
        assert_eq!(house.get(&bob, &list).await.status, 404);

        let tickets = house.pay(order.id).await;
        let pdf = format!("/api/booking/tickets/{}/pdf", tickets[0]);
        assert_eq!(house.get(&ann, &pdf).await.status, 404);
        assert!(
            house.get(&ann, &list).await.expect::<Tickets>(200).items[0]
                .pdf
                .is_none()
        );

        house.render(tickets[0], b"%PDF-1.7").await;
        let answer = house.get(&ann, &pdf).await;
        assert_eq!(
            (answer.status, answer.body.as_slice()),
            (200, b"%PDF-1.7".as_slice())
        );
        assert_eq!(house.get(&bob, &pdf).await.status, 404);
        let listed = house.get(&ann, &list).await.expect::<Tickets>(200).items;
        assert_eq!(
            (listed.len(), listed[0].seat.number, listed[1].seat.number),
            (2, 1, 2)
        );
        assert_eq!(listed[0].pdf.as_deref(), Some(pdf.as_str()));

        house.cancel(&ann, order.id).await;
        assert_eq!(house.get(&ann, &pdf).await.status, 410);
        let listed = house.get(&ann, &list).await.expect::<Tickets>(200).items;
        assert!(
            listed
                .iter()
                .all(|ticket| ticket.state == TicketState::Cancelled)
        );
        assert!(listed.iter().all(|ticket| ticket.pdf.is_none()));
    }
}
