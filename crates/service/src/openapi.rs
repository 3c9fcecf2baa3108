//! OpenAPI generated from the code, and the page that shows it.

use axum::Router;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

/// Splits a service's documented routes into a plain router that also serves
/// `/api/<name>/openapi.json` and, for people, `/api/<name>/docs/`.
pub fn documented<S>(
    name: &str,
    title: &str,
    description: &str,
    routes: OpenApiRouter<S>,
) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let (router, mut api) = routes.split_for_parts();
    title.clone_into(&mut api.info.title);
    api.info.description = Some(description.to_owned());
    env!("CARGO_PKG_VERSION").clone_into(&mut api.info.version);
    router.merge(pages(name, api))
}

fn pages<S>(name: &str, api: OpenApi) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    utoipa_swagger_ui::SwaggerUi::new(format!("/api/{name}/docs"))
        .url(format!("/api/{name}/openapi.json"), api)
        .into()
}
