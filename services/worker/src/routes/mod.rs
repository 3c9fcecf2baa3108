//! What a worker answers: one file an endpoint.

mod status;

use axum::Router;
use leader::Leader;
use service::openapi::{Document, Operations};
use sqlx::PgPool;
use tokio::sync::watch;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::tasks::status::Statuses;

/// What the endpoints need.
#[derive(Clone, Debug)]
pub struct App {
    /// This replica's name.
    pub replica: String,
    /// Who leads, as etcd says.
    pub leader: watch::Receiver<Option<Leader>>,
    /// The runs of this replica's tasks.
    pub statuses: Statuses,
    /// Where the leader tells of its tasks.
    pub pool: PgPool,
}

const DOCUMENT: Document<'_> = Document {
    name: "worker",
    title: "Worker",
    description: "The back office of booking: who leads it, and how its tasks run.",
    tags: &[("status", "Who leads, and how its tasks run.")],
    operations: Operations::AtTheEdge,
};

/// The routes for the world.
pub fn public(app: App) -> Router {
    service::openapi::documented(DOCUMENT, routes()).with_state(app)
}

fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(status::status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_documents_what_it_may_answer() {
        // It panics where the document lacks something.
        let _: Router<App> = service::openapi::documented(DOCUMENT, routes());
        let document = serde_json::to_value(routes().split_for_parts().1).unwrap();
        let answers = &document["paths"]["/api/worker/status"]["get"]["responses"];
        for status in ["400", "408", "413", "414", "429", "431", "500", "503"] {
            let content = &answers[status]["content"]["application/problem+json"];
            assert!(content["schema"].is_object(), "{status}: {answers}");
        }
    }
}
