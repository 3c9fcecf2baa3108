//! The routes: a folder a resource, a file an endpoint.

mod answers;
mod audit;
mod events;
mod holds;
mod ledger;
mod orders;
mod outbox;
mod scans;
mod tickets;

use axum::Router;
use service::openapi::{Document, Operations};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

const DOCUMENT: Document<'_> = Document {
    name: "booking",
    title: "Booking",
    description: "Hold seats, order them, cancel, and let people in at the door of the hall. Writes \
        that create something take an Idempotency-Key: the same key again gets the first answer \
        again.",
    tags: &[
        ("seats", "Which seats are left, for everybody to see."),
        ("holds", "Seats kept for a customer for a short time."),
        ("orders", "Seats that a customer buys."),
        ("tickets", "What a customer shows at the door of the hall."),
        ("scans", "Letting people in, for organisers."),
        ("settlements", "What organisers are paid."),
    ],
    operations: Operations::AtTheEdge,
};

/// Routes for the world, behind Nginx.
pub fn public(app: App) -> Router {
    let routes = service::openapi::with_sessions()
        .routes(routes!(events::list_seats::list_seats))
        .routes(routes!(events::availability::availability))
        .routes(routes!(events::list_settlements::list_settlements))
        .routes(routes!(holds::place::place))
        .routes(routes!(holds::read::read, holds::release::release))
        .routes(routes!(orders::place::place, orders::list::list))
        .routes(routes!(orders::read::read))
        .routes(routes!(orders::cancel::cancel))
        .routes(routes!(orders::give_card::give_card))
        .routes(routes!(orders::list_tickets::list_tickets))
        .routes(routes!(tickets::read_pdf::read_pdf))
        .routes(routes!(scans::admit::admit));
    service::openapi::documented(DOCUMENT, routes).with_state(app)
}

/// What the catalogue calls.
pub fn seating(app: App) -> Router {
    OpenApiRouter::new()
        .routes(routes!(events::put::put))
        .with_state(app)
        .into()
}

/// What checkers read.
pub fn books(app: App) -> Router {
    OpenApiRouter::new()
        .routes(routes!(ledger::read::read))
        .routes(routes!(outbox::read::read))
        .routes(routes!(audit::read::read))
        .with_state(app)
        .into()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use sqlx::PgPool;

    use crate::fixture::{Fixture, who};

    /// The names of parameters of an operation.
    fn parameters(operation: &Value) -> Vec<&str> {
        let list = operation["parameters"].as_array().into_iter().flatten();
        list.filter_map(|parameter| parameter["name"].as_str())
            .collect()
    }

    #[tokio::test]
    async fn every_route_documents_what_it_may_answer() {
        let pool = PgPool::connect_lazy("postgres://nobody@127.0.0.1:1/nothing").unwrap();
        let house = Fixture::empty(pool);
        let document: Value = house
            .get(&who("customer"), "/api/booking/openapi.json")
            .await
            .expect(200);
        let problem = "#/components/schemas/Problem";
        assert!(document.pointer(&problem[1..]).is_some());
        let mut operations = 0;
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                operations += 1;
                let mut expected = vec![
                    "400", "408", "409", "413", "414", "429", "431", "500", "503",
                ];
                let open = ["/availability", "/seats"];
                let needs_session = !open.iter().any(|end| path.ends_with(end));
                if needs_session {
                    expected.push("401");
                }
                assert_eq!(operation["security"].is_array(), needs_session, "{path}");
                if path.contains('{') {
                    expected.push("404");
                }
                if operation.get("requestBody").is_some() {
                    expected.extend(["415", "422"]);
                }
                let named = parameters(operation);
                if ["Idempotency-Key", "limit"]
                    .iter()
                    .any(|n| named.contains(n))
                {
                    expected.push("422");
                }
                for status in expected {
                    let answer = &operation["responses"][status];
                    let schema = &answer["content"]["application/problem+json"]["schema"]["$ref"];
                    assert_eq!(schema, problem, "{method} {path} {status}: {answer}");
                }
                let conflicts = operation["responses"]["409"]["description"].as_str();
                let busy = conflicts.unwrap().split([',', ';', ' ']);
                assert!(
                    busy.into_iter().any(|kind| kind == "busy"),
                    "{method} {path}"
                );
            }
        }
        assert_eq!(operations, 14);
    }
}
