export * from './sealfleet';
export * from './sealfleet-project';
