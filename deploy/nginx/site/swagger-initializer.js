// One page for the documents of all services. The edge serves this file in the place
// of the one that comes with Swagger UI.
window.onload = () => {
  document.title = "API · Boxoffice";

  // A key belongs to one request. An example that never changes would be refused, or
  // answered from the first time, when the next person sends it.
  const newKey = () =>
    Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) =>
      byte.toString(16).padStart(2, "0"),
    ).join("");
  const withNewKeys = (response) => {
    if (!response.ok || !String(response.url).endsWith("/openapi.json")) return response;
    const api = JSON.parse(response.text);
    for (const path of Object.values(api.paths ?? {})) {
      for (const operation of Object.values(path)) {
        for (const parameter of operation.parameters ?? []) {
          if (parameter.name === "Idempotency-Key") {
            delete parameter.examples;
            parameter.example = newKey();
          }
        }
      }
    }
    response.text = JSON.stringify(api);
    return response;
  };

  // The bank cannot be reached through the edge: its document is there to be read.
  const BankIsInside = () => ({
    statePlugins: {
      spec: {
        wrapSelectors: {
          allowTryItOutFor: (_, system) => () =>
            !system.specSelectors.url().includes("/api/bank/"),
        },
      },
    },
  });

  window.ui = SwaggerUIBundle({
    dom_id: "#swagger-ui",
    urls: ["identity", "catalog", "booking", "worker", "bank"].map((name) => ({
      name,
      url: `/api/${name}/openapi.json`,
    })),
    deepLinking: true,
    displayRequestDuration: true,
    // The token of a session stays over a reload, and counts for all documents, which
    // call it by the same name.
    persistAuthorization: true,
    tryItOutEnabled: true,
    validatorUrl: null,
    responseInterceptor: withNewKeys,
    presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
    plugins: [SwaggerUIBundle.plugins.DownloadUrl, BankIsInside],
    layout: "StandaloneLayout",
  });
};
