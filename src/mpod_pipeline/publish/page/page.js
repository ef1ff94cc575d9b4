'use strict';
// The overview of all products, and the view of one, at #ID. All texts go in as texts, never as HTML.

const KEYS = 'Keys: n next, p previous, a approve, r reject, Esc overview';
const STATES = { open: 'not looked at', changed: 'changed since', approved: 'approved', rejected: 'rejected' };
const find = (id) => document.getElementById(id);
const byId = new Map(CATALOG.map((entry) => [entry.id, entry]));
const order = { descending: true };
let server = null; // what `kedro review` says of itself; null where nobody takes decisions
let listed = [];   // the entries that the overview shows, in their order
let reading = '';  // the product whose file is being read

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null && child !== ''));
  return element;
}

function decisionOf(entry) {
  return entry.decisions.findLast((decision) => decision.model === entry.model) || null;
}

function stateOf(entry) {
  const decision = decisionOf(entry);
  return decision ? decision.decision : entry.decisions.length && entry.model ? 'changed' : 'open';
}

const heldBack = (entry) => Object.values(entry.published || {}).some((reason) => reason);
const IS = {
  open: (entry) => entry.model && ['open', 'changed'].includes(stateOf(entry)),
  approved: (entry) => stateOf(entry) === 'approved',
  rejected: (entry) => stateOf(entry) === 'rejected',
  flagged: (entry) => entry.flags,
  held: heldBack,
  failed: (entry) => entry.failed,
};

function valueOf(entry, sort) {
  if (sort === 'id') return entry.id;
  if (sort === 'doubt') return entry.doubt;
  return (entry.scores || {})[sort] ?? null;
}

function compare(a, b, sort) {
  const [one, other] = [valueOf(a, sort), valueOf(b, sort)];
  if (one === null || other === null) return (one === null) - (other === null); // what has none comes last
  const sign = order.descending ? -1 : 1;
  return sign * (typeof one === 'string' ? one.localeCompare(other) : one - other) || a.id.localeCompare(b.id);
}

function choose() {
  const words = find('search').value.toLowerCase().split(/\s+/).filter(Boolean);
  const [category, state, sort] = ['category', 'state', 'sort'].map((id) => find(id).value);
  listed = CATALOG.filter((entry) => {
    const text = `${entry.id} ${entry.title} ${entry.category}`.toLowerCase();
    return words.every((word) => text.includes(word)) && (!category || entry.category === category)
      && (!state || IS[state](entry));
  }).sort((a, b) => compare(a, b, sort));
}

function showOverview() {
  choose();
  const sort = find('sort').value;
  find('count').textContent = `${listed.length} of ${CATALOG.length}`;
  find('cards').replaceChildren(...listed.map((entry) => card(entry, sort)));
}

function card(entry, sort) {
  const state = stateOf(entry);
  const value = valueOf(entry, sort);
  const picture = entry.model
    ? make('img', { loading: 'lazy', alt: '', width: 256, height: 256,
                    src: `thumbnails/${encodeURIComponent(entry.id)}.webp` })
    : make('span', { className: 'none', textContent: 'no model' });
  const said = make('div', {}, make('strong', { textContent: entry.title || entry.id }), make('br'),
    make('span', { className: 'small', textContent: entry.title ? entry.id : '' }), ' ',
    make('span', { className: `small ${state}`, textContent: entry.model ? STATES[state] : '' }), ' ',
    make('span', { className: 'small', textContent: sort === 'id' || value === null ? '' : `${sort} ${value}` }), ' ',
    make('span', { className: 'small failed', textContent: entry.failed || entry.flags }));
  return make('a', { className: 'card', href: `#${encodeURIComponent(entry.id)}` }, picture, said);
}

function loaded(page) { // called by the product's file
  if (page.id === reading) showProduct(byId.get(page.id), page);
}

function read(entry) {
  reading = entry.id;
  if (!entry.model) return showProduct(entry, null);
  const script = make('script', { src: `products/${encodeURIComponent(entry.id)}.js` });
  script.onerror = () => showProduct(entry, null);
  script.onload = () => script.remove();
  document.head.append(script);
}

function loadViewer() {
  if (find('viewer')) return;
  document.head.append(make('script', { id: 'viewer', src: 'model-viewer-umd.min.js' }));
}

function modelUrl(glb) { // an address of the model's bytes, which any page may read
  const bytes = Uint8Array.from(atob(glb.slice(glb.indexOf(',') + 1)), (letter) => letter.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], { type: 'model/gltf-binary' }));
}

function viewerOf(page) {
  loadViewer();
  const viewer = make('model-viewer', { id: 'model' });
  const attributes = { ...page.camera, src: modelUrl(page.glb), poster: page.poster, 'camera-controls': '',
                       'interaction-prompt': 'none', 'shadow-intensity': '1', 'tone-mapping': 'neutral',
                       alt: 'The model, to be turned' };
  for (const [name, value] of Object.entries(attributes)) viewer.setAttribute(name, value);
  return viewer;
}

function rows(pairs) {
  return make('table', {}, ...pairs.map(([name, value]) =>
    make('tr', {}, make('td', { textContent: name }), make('td', { textContent: value }))));
}

function section(title, ...content) {
  return make('section', {}, make('h2', { textContent: title }), ...content);
}

function picture(title, source) {
  return section(title, make('img', { src: source, alt: title, loading: 'lazy' }));
}

function showProduct(entry, page) {
  const state = stateOf(entry);
  const top = make('div', { className: 'top' },
    make('h1', { textContent: entry.title ? `${entry.title} (${entry.id})` : entry.id }),
    make('span', { id: 'verdict', className: state, textContent: page ? STATES[state] : '' }),
    button('Overview', () => { location.hash = ''; }), button('Previous', () => step(-1)), button('Next', () => step(1)),
    ...(server && page ? [button('Approve', approve), button('Reject', askWhy)] : []));
  const about = make('div', { className: 'more' }, ...(page ? pictures(page) : []),
    ...(page ? [section('Model', rows(Object.entries(page.facts))), section('Scores', rows(Object.entries(page.scores)))]
             : []),
    section('Shops', rows(Object.entries(entry.published || {}).map(([shop, why]) => [shop, why || 'published']))),
    section('History', rows([
      ...entry.decisions.map((each) => [each.when, `${each.decision} by ${each.who || 'somebody'}: ${each.reason}`
        + (each.model === entry.model ? '' : ' (of an earlier model)')]),
      ...entry.history.map(([name, how, seconds, attempt, when, run]) =>
        [when, `${name}: ${how}, ${seconds} s${attempt > 1 ? `, attempt ${attempt}` : ''} (run ${run})`]),
    ].sort((a, b) => b[0].localeCompare(a[0])))),
    section('Make it again', make('p', { textContent: 'With another seed:' }),
      make('code', { textContent: `kedro run '--params=products=[${entry.id}],batch.seed=1'` })));
  find('product').replaceChildren(top,
    make('p', { className: 'top failed', textContent: [entry.failed, entry.flags].filter(Boolean).join('; ') }),
    page ? make('div', { className: 'pair' }, make('img', { src: Object.values(page.photos)[0], alt: 'The photo' }), viewerOf(page)) : '',
    about, make('p', { className: 'top small', textContent: KEYS }));
}

function pictures(page) {
  const others = Object.entries(page.photos).slice(1).map(([name, source]) => [`Photo: ${name}`, source]);
  return [...others, ['Turntable', page.turntable], ['Normals', page.normals], ['What its word draws', page.words]]
    .map(([title, source]) => picture(title, source));
}

function button(text, onclick) {
  return make('button', { textContent: text, onclick });
}

function current() {
  return find('product').hidden ? null : byId.get(reading) || null;
}

function step(by) {
  const place = listed.findIndex((entry) => entry.id === reading);
  const next = listed[place + by];
  location.hash = next ? encodeURIComponent(next.id) : '';
}

async function decide(verdict, reason) {
  const entry = current();
  if (!server || !entry || !entry.model) return;
  const answer = await fetch('api/decisions', {
    method: 'POST', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ product: entry.id, model: entry.model, decision: verdict, reason }),
  });
  const said = await answer.json();
  if (!answer.ok) { alert(said.error); return; }
  entry.decisions.push(said);
  step(1);
}

const approve = () => decide('approved', '');

function askWhy() {
  const entry = current();
  if (!server || !entry || !entry.model) return;
  find('reason').value = '';
  find('reject').returnValue = '';
  find('reject').showModal();
}

function onKey(event) {
  if (find('reject').open || event.ctrlKey || event.metaKey || event.altKey || !current()) return;
  if (event.target.matches('input, select, textarea')) return;
  const keys = { n: () => step(1), p: () => step(-1), a: approve, r: askWhy, Escape: () => { location.hash = ''; } };
  if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
}

function asked() { // the product in the address
  try {
    return byId.get(decodeURIComponent(location.hash.slice(1)));
  } catch { // typed by hand
    return undefined;
  }
}

function follow() {
  const entry = asked();
  find('overview').hidden = Boolean(entry);
  find('product').hidden = !entry;
  find('product').replaceChildren();
  if (entry) { if (!listed.length) choose(); read(entry); } else { reading = ''; showOverview(); }
}

async function askServer() {
  try {
    const answer = location.protocol.startsWith('http') ? await fetch('api/decisions') : null;
    server = answer && answer.ok ? await answer.json() : null;
  } catch { server = null; }
  if (!server) {
    find('note').textContent = 'This page only shows. To approve and reject, open it by: kedro review';
    return;
  }
  for (const entry of CATALOG) entry.decisions = [];
  for (const decision of server.decisions) byId.get(decision.product)?.decisions.push(decision);
}

function fill() {
  const categories = [...new Set(CATALOG.map((entry) => entry.category).filter(Boolean))].sort();
  find('category').append(make('option', { value: '', textContent: 'all categories' }),
    ...categories.map((category) => make('option', { value: category, textContent: category })));
  const scores = [...new Set(CATALOG.flatMap((entry) => Object.keys(entry.scores || {})))].sort();
  find('sort').append(make('option', { value: 'doubt', textContent: 'doubt: the doubtful first' }),
    ...['id', ...scores].map((name) => make('option', { value: name, textContent: name })));
}

async function start() {
  fill();
  for (const id of ['search', 'category', 'state', 'sort']) find(id).addEventListener('input', showOverview);
  find('turn').addEventListener('click', () => { order.descending = !order.descending; showOverview(); });
  find('reject').addEventListener('close', () => {
    if (find('reject').returnValue === 'reject') decide('rejected', find('reason').value.trim());
  });
  document.addEventListener('keydown', onKey);
  addEventListener('hashchange', follow);
  await askServer();
  follow();
}

start();
