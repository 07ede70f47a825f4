// Addresses are relative, so that the page also works below a path of a reverse proxy.
window.addEventListener('load', () => {
  SwaggerUIBundle({ url: 'openapi.json', dom_id: '#docs', deepLinking: true });
});
