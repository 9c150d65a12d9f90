// Rules about the package: what is published, what it drags along, and the core's text.

/** The parts of package.json that the rules look at. */
export interface Manifest {
  readonly type?: string
  readonly engines?: { readonly node?: string }
  readonly bin?: Readonly<Record<string, string>>
  readonly exports?: Readonly<Record<string, unknown>>
  readonly files?: readonly string[]
  readonly scripts?: Readonly<Record<string, string>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

/** The parts of package-lock.json that the rules look at. */
export interface Lock {
  readonly packages: Readonly<
    Record<
      string,
      {
        readonly dev?: boolean
        readonly hasInstallScript?: boolean
        readonly resolved?: string
        readonly optionalDependencies?: Readonly<Record<string, string>>
      }
    >
  >
}

/** Run by npm when somebody installs a package: none of ours. */
const INSTALL_SCRIPTS = [
  'preinstall',
  'install',
  'postinstall',
  'prepublish',
  'prepare',
  'preprepare',
  'postprepare',
]

/** Development folders that must not be published. */
const PRIVATE = ['test', 'bench', 'scripts', 'assembly', '.ci', '.github', 'dist', '.', '*']

/** Production packages that an install brings, at most. */
export const MAX_PACKAGES = 25

/** What is wrong with package.json. */
export function manifestProblems(manifest: Manifest): string[] {
  const wrong: string[] = []
  const want = (good: boolean, text: string): void => {
    if (!good) wrong.push(text)
  }
  for (const name of INSTALL_SCRIPTS)
    want(!Object.hasOwn(manifest.scripts ?? {}, name), `scripts.${name} runs at install time`)
  for (const name of manifest.files ?? ['*'])
    want(!PRIVATE.includes(name.replace(/\/$/, '')), `files: ${name} publishes too much`)
  want(manifest.type === 'module', 'type is not module')
  want(manifest.engines?.node === '>=20.19', 'engines.node is not >=20.19')
  want(manifest.bin?.['phasebit'] === './dist/lib/cli.js', 'bin.phasebit is not ./dist/lib/cli.js')
  const main = (manifest.exports?.['.'] ?? {}) as Record<string, string>
  want(Object.keys(main)[0] === 'types', 'exports: types does not come first')
  for (const [name, range] of Object.entries(manifest.dependencies ?? {}))
    want(range.startsWith('^'), `dependencies.${name}: ${range} is no caret range`)
  for (const [name, range] of Object.entries(manifest.devDependencies ?? {}))
    want(/^\d+\.\d+\.\d+$/.test(range), `devDependencies.${name}: ${range} is not pinned`)
  want(
    manifest.optionalDependencies === undefined,
    'optionalDependencies are installed for everybody',
  )
  return wrong
}

/** Optional packages without an entry, which `npm ci` refuses: a registry that did not know them yet leaves them out. */
function missingEntries({ packages }: Lock): string[] {
  return Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies)
      .filter(
        name => !packages[`node_modules/${name}`] && !packages[`${path}/node_modules/${name}`],
      )
      .map(name => `${path}: its optional ${name} has no entry`),
  )
}

/** What is wrong with the lock file: too many packages, one that runs something when it is installed, or one left out. */
export function lockProblems(lock: Lock): string[] {
  const production = Object.entries(lock.packages).filter(([path, entry]) => path && !entry.dev)
  const scripts = production
    .filter(([, entry]) => entry.hasInstallScript)
    .map(([path]) => `${path}: has an install script`)
  const foreign = Object.entries(lock.packages)
    .filter(([, { resolved }]) => resolved && !resolved.startsWith('https://registry.npmjs.org/'))
    .map(([path, { resolved }]) => `${path}: comes from ${resolved}`)
  const many = production.length > MAX_PACKAGES
  const count = many ? [`${production.length} production packages, at most ${MAX_PACKAGES}`] : []
  return [...count, ...scripts, ...foreign, ...missingEntries(lock)]
}

/** What the text of the release core must not hold: code at instantiation, and the hooks of the trace build. */
export function coreTextProblems(wat: string): string[] {
  const wrong: string[] = []
  if (/\(start\b/.test(wat))
    wrong.push('the release core runs code when it is instantiated: (start')
  const hooks = new Set(wat.match(/\$assembly\/trace\/[\w~./]+/g))
  for (const name of hooks) wrong.push(`the release core holds a trace hook: ${name}`)
  if (!/\(import "env" "memory" \(memory /.test(wat))
    wrong.push('the release core does not import env.memory')
  if (/\(import "env" "abort"/.test(wat)) wrong.push('the release core imports env.abort')
  for (const name of wat.match(/\(global \$\S+ \(mut /g) ?? [])
    if (!/~lib\/(memory|rt)/.test(name))
      wrong.push(`the release core has a mutable global: ${name}`)
  return wrong
}
